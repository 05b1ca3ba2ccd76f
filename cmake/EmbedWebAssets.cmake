# Writes a C++ file that holds the web page's files: cmake -D FOLDER= -D FILES=a.js,b.css -D LIBRARIES=FILE -D OUT= -P
# LIBRARIES becomes libraries.js among them. src/server/web_assets.h says what is made of it.

# embed(NAME FILE): appends its bytes to `bodies` and its entry to `entries`.
function(embed name file)
  file(READ ${file} hex HEX)
  file(SHA256 ${file} hash)
  string(SUBSTRING ${hash} 0 16 tag)
  string(MAKE_C_IDENTIFIER "kBody_${name}" body)
  cmake_path(GET name EXTENSION extension)
  # Escapes, since a compiler may refuse a literal that ends within a character of UTF-8, and 64 bytes in a literal, since
  # one may be bounded in length. Neighbours are put together.
  string(REPEAT "[0-9a-f]" 128 row)
  string(REGEX REPLACE "(${row})" "\\1\n" hex "${hex}")
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "\\\\x\\1" hex "${hex}")
  string(REPLACE "\n" "\"\n\"" hex "${hex}")
  string(APPEND bodies "constexpr char ${body}[] =\n\"${hex}\";\n")
  string(APPEND entries "    {\"/web/${name}\", \"${type${extension}}\", \"\\\"${tag}\\\"\", {${body}, sizeof(${body}) - 1}},\n")
  set(bodies "${bodies}" PARENT_SCOPE)
  set(entries "${entries}" PARENT_SCOPE)
endfunction()

set(type.html "text/html; charset=utf-8")
set(type.css "text/css; charset=utf-8")
set(type.js "text/javascript; charset=utf-8")
string(REPLACE "," ";" names "${FILES}")
foreach(name IN LISTS names)
  embed(${name} ${FOLDER}/${name})
endforeach()
embed(libraries.js ${LIBRARIES})

file(WRITE ${OUT} "#include \"server/web_assets.h\"\n
namespace flashmoe::server {
namespace {\n
${bodies}
constexpr WebAsset kAssets[] = {
${entries}};\n
}  // namespace\n
std::span<const WebAsset> web_assets() { return kAssets; }\n
}  // namespace flashmoe::server\n")
