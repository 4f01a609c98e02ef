# Puts the files of the API's documentation page into cairn_api, byte for byte, by the assembler's .incbin: compilers take
# minutes and gigabytes for a megabyte of initialisers. See src/api/docs/assets.hpp.
enable_language(ASM)

set(swagger ${CMAKE_SOURCE_DIR}/web/node_modules/swagger-ui-dist)
set(docs ${CMAKE_SOURCE_DIR}/src/api/docs)
set(asset_files ${docs}/index.html ${docs}/init.js ${docs}/style.css ${swagger}/swagger-ui-bundle.js
    ${swagger}/swagger-ui.css ${swagger}/LICENSE ${swagger}/swagger-ui-bundle.js.LICENSE.txt)
set(asset_type_html "text/html; charset=utf-8")
set(asset_type_js "text/javascript; charset=utf-8")
set(asset_type_css "text/css; charset=utf-8")
set(asset_type_ "text/plain; charset=utf-8")
set(asset_type_txt ${asset_type_})

set(assembly "  .section .rodata\n")
set(table "")
set(index 0)
foreach(file ${asset_files})
  if(NOT EXISTS ${file})
    message(FATAL_ERROR "${file} is missing: run bin/setup, which installs the packages of web/")
  endif()
  get_filename_component(name ${file} NAME)
  get_filename_component(extension ${file} LAST_EXT)
  string(REPLACE "." "" extension "${extension}")
  set(symbol cairn_asset_${index})
  string(APPEND assembly "  .global ${symbol}, ${symbol}_end\n${symbol}:\n  .incbin \"${file}\"\n${symbol}_end:\n  .byte 0\n")
  string(APPEND table "CAIRN_ASSET(${symbol}, \"${name}\", \"${asset_type_${extension}}\")\n")
  math(EXPR index "${index} + 1")
endforeach()
string(APPEND assembly "  .section .note.GNU-stack,\"\",%progbits\n")
# Not rewritten when nothing changed, so that a configure does not cause a build.
file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/generated/docs_assets.s CONTENT "${assembly}" @ONLY)
file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/generated/docs_assets.inc CONTENT "${table}" @ONLY)
set_source_files_properties(${CMAKE_BINARY_DIR}/generated/docs_assets.s PROPERTIES OBJECT_DEPENDS "${asset_files}")

target_sources(cairn_api PRIVATE ${docs}/assets.cpp ${CMAKE_BINARY_DIR}/generated/docs_assets.s)
