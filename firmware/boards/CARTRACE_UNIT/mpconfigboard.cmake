# Files of the variants differ in what is frozen and in whether CARTRACE_PRODUCTION is set (mpconfigboard.h).
set(PICO_BOARD pico)
set(PICO_PLATFORM rp2040)
set(MICROPY_FROZEN_MANIFEST ${MICROPY_BOARD_DIR}/manifest.py)
