# The unix port's build, for tests on the host. LIBSODIUM: src/libsodium of the unpacked sources.
ED25519_NATIVE_DIR := $(USERMOD_DIR)
SRC_USERMOD_C += $(ED25519_NATIVE_DIR)/ed25519_native.c $(ED25519_NATIVE_DIR)/sodium_parts.c
SRC_USERMOD_LIB_C += \
	$(LIBSODIUM)/crypto_core/ed25519/ref10/ed25519_ref10.c \
	$(LIBSODIUM)/crypto_hash/sha512/cp/hash_sha512_cp.c \
	$(LIBSODIUM)/crypto_sign/ed25519/ref10/keypair.c \
	$(LIBSODIUM)/crypto_sign/ed25519/ref10/open.c \
	$(LIBSODIUM)/crypto_sign/ed25519/ref10/sign.c \
	$(LIBSODIUM)/crypto_verify/sodium/verify.c
CFLAGS_USERMOD += -I$(LIBSODIUM)/include -I$(LIBSODIUM)/include/sodium -DCONFIGURED=1 -DSODIUM_STATIC=1 \
	-fwrapv -fno-strict-aliasing -Wno-unused-function
