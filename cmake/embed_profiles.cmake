# Writes every profiles/NAME.toml as {"NAME", {characters}}.
file(GLOB files ${DIR}/*.toml)
list(SORT files)
set(text "")
foreach(file ${files})
  get_filename_component(name ${file} NAME_WE)
  # Read as hex so that semicolons, brackets and backslashes survive CMake's list syntax.
  file(READ ${file} hex HEX)
  string(REGEX REPLACE "(..)" "'\\\\x\\1'," bytes "${hex}")
  string(APPEND text "{\"${name}\", {${bytes}}},\n")
endforeach()
file(WRITE ${OUT} "${text}")
