include(${CMAKE_CURRENT_LIST_DIR}/ed25519_native/micropython.cmake)
