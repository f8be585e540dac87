# Writes OUT: the bytes of IN as the C array SYMBOL and its length SYMBOL_length.
file(READ ${IN} hex HEX)
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
file(WRITE ${OUT} "extern const unsigned char ${SYMBOL}[];\nextern const unsigned long ${SYMBOL}_length;\n"
  "const unsigned char ${SYMBOL}[] = {${bytes}0};\nconst unsigned long ${SYMBOL}_length = sizeof ${SYMBOL} - 1;\n")
