# The board's build. LIBSODIUM: src/libsodium of the unpacked sources; they are compiled as they are.
set(ED25519_SODIUM
  ${LIBSODIUM}/crypto_core/ed25519/ref10/ed25519_ref10.c
  ${LIBSODIUM}/crypto_hash/sha512/cp/hash_sha512_cp.c
  ${LIBSODIUM}/crypto_sign/ed25519/ref10/keypair.c
  ${LIBSODIUM}/crypto_sign/ed25519/ref10/open.c
  ${LIBSODIUM}/crypto_sign/ed25519/ref10/sign.c
  ${LIBSODIUM}/crypto_verify/sodium/verify.c)
add_library(usermod_ed25519_native INTERFACE)
target_sources(usermod_ed25519_native INTERFACE
  ${CMAKE_CURRENT_LIST_DIR}/ed25519_native.c ${CMAKE_CURRENT_LIST_DIR}/sodium_parts.c ${ED25519_SODIUM})
target_include_directories(usermod_ed25519_native INTERFACE ${LIBSODIUM}/include ${LIBSODIUM}/include/sodium)
target_compile_definitions(usermod_ed25519_native INTERFACE CONFIGURED=1 SODIUM_STATIC=1)
# -O2: the rest is built for size, at which a signature takes half as long again. ref10 shifts negative numbers and lets
# numbers wrap, which C leaves open and these two options settle.
set_source_files_properties(${ED25519_SODIUM} PROPERTIES COMPILE_OPTIONS "-O2;-fwrapv;-fno-strict-aliasing;-Wno-unused-function")
target_link_libraries(usermod INTERFACE usermod_ed25519_native)
