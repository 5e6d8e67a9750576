// The unit's board: RP2040 with 2 MiB of flash. Flash map, pins and variants: firmware/boards/README.md.

// What lies behind the code, up to the end of flash: 96 KiB littlefs, 32 KiB slots, 1280 KiB journal. rp2.Flash covers it.
#define MICROPY_HW_FLASH_STORAGE_BYTES (1408 * 1024)

// One program, no second core: it would have to be held still for every flash operation.
#define MICROPY_PY_THREAD (0)

#if CARTRACE_PRODUCTION
// Nothing outside of this image is ever run: no prompt on any port, no terminal to move elsewhere, no USB, no compiler.
#define MICROPY_HW_BOARD_NAME "Cartrace unit"
#define MICROPY_HW_ENABLE_USBDEV (0)
#define MICROPY_HW_ENABLE_UART_REPL (0)
#define MICROPY_PY_OS_DUPTERM (0)
#define MICROPY_ENABLE_COMPILER (0)
#else
#define MICROPY_HW_BOARD_NAME "Cartrace unit (development)"
#endif
