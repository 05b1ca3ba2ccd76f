# Writes one script that defines marked, DOMPurify and hljs, of those that are given:
# cmake [-D MARKED=FILE] [-D PURIFY=FILE] [-D HIGHLIGHT=FILE] -D OUT= -P. HIGHLIGHT is lib/highlight.js of version 9, with
# languages/ beside it. A library that is not given is left out.

# What answers are written in; all 185 would be six times as large.
set(languages bash cmake cpp cs css diff dockerfile go haskell http ini java javascript json julia kotlin lua makefile
  markdown nix objectivec perl php plaintext powershell protobuf python r ruby rust scala scss shell sql swift tex
  typescript xml yaml)

set(bundle "")
foreach(file IN ITEMS "${MARKED}" "${PURIFY}")
  if(file)
    file(READ ${file} text)
    # The map is not served.
    string(REGEX REPLACE "//# sourceMappingURL=[^\n]*" "" text "${text}")
    string(APPEND bundle "${text}\n")
  endif()
endforeach()
if(HIGHLIGHT)
  string(APPEND bundle "/* What follows is highlight.js, copyright Ivan Sagalaev, BSD-3-Clause licence. */\n")
  # It and its languages are CommonJS modules.
  file(READ ${HIGHLIGHT} text)
  string(APPEND bundle "globalThis.hljs = (function () {\nconst exports = {}, module = {exports};\n${text}\n"
    "return module.exports;\n})();\n"
    # Readers of the page cannot act on its notice of age. What it makes goes through DOMPurify.
    "hljs.configure({hideUpgradeWarningAcceptNoSupportOrSecurityUpdates: true});\n")
  cmake_path(GET HIGHLIGHT PARENT_PATH folder)
  foreach(language IN LISTS languages)
    if(EXISTS ${folder}/languages/${language}.js)
      file(READ ${folder}/languages/${language}.js text)
      string(APPEND bundle "(function () {\nconst module = {};\n${text}\n"
        "hljs.registerLanguage(\"${language}\", module.exports);\n})();\n")
    endif()
  endforeach()
endif()
file(WRITE ${OUT} "${bundle}")
