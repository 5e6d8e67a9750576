"""Host models of the chips round the microcontroller, byte by byte as they behave on the I2C bus."""
