// Python module ed25519_native: Ed25519 by libsodium's ref10 code, with the same functions as agent/ed25519.py.
//
//     public_key(seed: 32 bytes) -> 32 bytes
//     sign(seed: 32 bytes, public_key: 32 bytes, message) -> 64 bytes; ValueError for another seed's public key
//     verify(public_key, message, signature) -> bool, strict as wire/SPEC.md W13 has it; never raises for wrong lengths
//     key_is_sound(public_key) -> bool: canonical, on the curve, not of small order
//     kind: "native"
//
// All arithmetic is libsodium's, compiled unchanged; here are only checks and buffers. Needs no heap but for its results.

#include <string.h>

#include "py/runtime.h"

#pragma GCC diagnostic ignored "-Wunused-function" // ref10's header brings functions that only its own code uses
#include "crypto_sign_ed25519.h"
#include "private/ed25519_ref10.h"
#include "utils.h"

#define SEED_BYTES crypto_sign_ed25519_SEEDBYTES
#define KEY_BYTES crypto_sign_ed25519_PUBLICKEYBYTES
#define PAIR_BYTES crypto_sign_ed25519_SECRETKEYBYTES // seed, then public key
#define SIGNATURE_BYTES crypto_sign_ed25519_BYTES

// The pair that was made last. A message signed under a public key that is not the seed's gives the seed away, and
// deriving the key anew would double the price of each signature.
static byte own_pair[PAIR_BYTES];

static mp_buffer_info_t bytes_of(mp_obj_t object) {
    mp_buffer_info_t buffer;
    mp_get_buffer_raise(object, &buffer, MP_BUFFER_READ);
    return buffer;
}

static const byte *exactly(mp_obj_t object, size_t length) {
    mp_buffer_info_t buffer = bytes_of(object);
    if (buffer.len != length) {
        mp_raise_ValueError(MP_ERROR_TEXT("seed and public key have 32 bytes"));
    }
    return buffer.buf;
}

static void make_pair(const byte *seed) {
    if (sodium_memcmp(own_pair, seed, SEED_BYTES) != 0 || sodium_is_zero(own_pair + SEED_BYTES, KEY_BYTES)) {
        byte public_key[KEY_BYTES], pair[PAIR_BYTES];
        crypto_sign_ed25519_seed_keypair(public_key, pair, seed);
        memcpy(own_pair, pair, PAIR_BYTES);
        sodium_memzero(pair, sizeof pair);
    }
}

static mp_obj_t ed25519_public_key(mp_obj_t seed) {
    make_pair(exactly(seed, SEED_BYTES));
    return mp_obj_new_bytes(own_pair + SEED_BYTES, KEY_BYTES);
}
static MP_DEFINE_CONST_FUN_OBJ_1(ed25519_public_key_obj, ed25519_public_key);

static mp_obj_t ed25519_sign(mp_obj_t seed, mp_obj_t public_key, mp_obj_t message) {
    mp_buffer_info_t signed_bytes = bytes_of(message);
    const byte *key = exactly(public_key, KEY_BYTES);
    byte signature[SIGNATURE_BYTES];
    make_pair(exactly(seed, SEED_BYTES));
    if (sodium_memcmp(own_pair + SEED_BYTES, key, KEY_BYTES) != 0) {
        mp_raise_ValueError(MP_ERROR_TEXT("public key of another seed"));
    }
    crypto_sign_ed25519_detached(signature, NULL, signed_bytes.buf, signed_bytes.len, own_pair);
    return mp_obj_new_bytes(signature, SIGNATURE_BYTES);
}
static MP_DEFINE_CONST_FUN_OBJ_3(ed25519_sign_obj, ed25519_sign);

static mp_obj_t ed25519_verify(mp_obj_t public_key, mp_obj_t message, mp_obj_t signature) {
    mp_buffer_info_t key = bytes_of(public_key), signed_bytes = bytes_of(message), sign = bytes_of(signature);
    return mp_obj_new_bool(key.len == KEY_BYTES && sign.len == SIGNATURE_BYTES &&
        crypto_sign_ed25519_verify_detached(sign.buf, signed_bytes.buf, signed_bytes.len, key.buf) == 0);
}
static MP_DEFINE_CONST_FUN_OBJ_3(ed25519_verify_obj, ed25519_verify);

static mp_obj_t ed25519_key_is_sound(mp_obj_t public_key) {
    mp_buffer_info_t key = bytes_of(public_key);
    ge25519_p3 point;
    return mp_obj_new_bool(key.len == KEY_BYTES && ge25519_is_canonical(key.buf) != 0 &&
        ge25519_has_small_order(key.buf) == 0 && ge25519_frombytes_negate_vartime(&point, key.buf) == 0);
}
static MP_DEFINE_CONST_FUN_OBJ_1(ed25519_key_is_sound_obj, ed25519_key_is_sound);

static const mp_rom_map_elem_t ed25519_native_names[] = {
    { MP_ROM_QSTR(MP_QSTR___name__), MP_ROM_QSTR(MP_QSTR_ed25519_native) },
    { MP_ROM_QSTR(MP_QSTR_kind), MP_ROM_QSTR(MP_QSTR_native) },
    { MP_ROM_QSTR(MP_QSTR_public_key), MP_ROM_PTR(&ed25519_public_key_obj) },
    { MP_ROM_QSTR(MP_QSTR_sign), MP_ROM_PTR(&ed25519_sign_obj) },
    { MP_ROM_QSTR(MP_QSTR_verify), MP_ROM_PTR(&ed25519_verify_obj) },
    { MP_ROM_QSTR(MP_QSTR_key_is_sound), MP_ROM_PTR(&ed25519_key_is_sound_obj) },
};
static MP_DEFINE_CONST_DICT(ed25519_native_globals, ed25519_native_names);

const mp_obj_module_t ed25519_native_module = {
    .base = { &mp_type_module },
    .globals = (mp_obj_dict_t *)&ed25519_native_globals,
};
MP_REGISTER_MODULE(MP_QSTR_ed25519_native, ed25519_native_module);
