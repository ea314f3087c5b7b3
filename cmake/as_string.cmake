# Writes the file FROM as a C++ string literal to TO.
file(READ ${FROM} text)
file(WRITE ${TO} "R\"MSL(${text})MSL\"\n")
