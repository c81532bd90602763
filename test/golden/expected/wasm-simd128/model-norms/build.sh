#!/bin/sh
# Builds model.wasm for target wasm-simd128, with clang 17 or later, its lld and its llvm-objcopy:
#   CXX=clang++-19 OBJCOPY=llvm-objcopy-19 sh build.sh
# Written from templates/cpp/build.sh.hbs.
set -e
cd "$(dirname "$0")"

sources='
  bn_bitlinear_i2_gemv_m96k72_t64x80x1__wasm_simd128.cpp
  bn_bitlinear_i2_gemm_m96k72_t16x80x2__wasm_simd128.cpp
  bn_bitlinear_i2_gemv_m48k72_t64x80x1__wasm_simd128.cpp
  bn_bitlinear_i2_gemm_m48k72_t16x80x2__wasm_simd128.cpp
  bn_bitlinear_i2_gemv_m80k96_t64x96x1__wasm_simd128.cpp
  bn_bitlinear_i2_gemm_m80k96_t16x96x2__wasm_simd128.cpp
  bn_bitlinear_i2_gemv_m80k90_t64x96x1__wasm_simd128.cpp
  bn_bitlinear_i2_gemm_m80k90_t16x96x2__wasm_simd128.cpp
  embedding.cpp
  attention.cpp
  head.cpp
  model.cpp
  probe.cpp
'
flags='
  --target=wasm32
  -std=c++20
  -O3
  -DNDEBUG
  -ffreestanding
  -nostdinc++
  -isystem include
  -fno-exceptions
  -fno-rtti
  -fvisibility=hidden
  -ffp-contract=off
  -Wall
  -Wextra
  -msimd128
  -mbulk-memory
  -matomics
'
link='
  --target=wasm32
  -nostdlib
  -Wl,--no-entry,--import-memory,--shared-memory,--initial-memory=2097152,--max-memory=4294967296
  -Wl,--export=bn_model,--export=__stack_pointer,--export=__heap_base,--export-table,--strip-all
'

module() { # name, file, flags of its own
  mkdir -p "build/$1"
  for source in $sources; do
    key=
    if [ "$source" = model.cpp ]; then key='-DBN_MODEL_KEY="key"'; fi
    "${CXX:-clang++}" $flags $key $3 -c "$source" -o "build/$1/${source%.cpp}.o"
  done
  "${CXX:-clang++}" $link "build/$1/"*.o -o "$2"
}

# The program twice: for every engine, and with relaxed SIMD, in a section of the first.
module plain model.wasm
module relaxed build/relaxed.wasm -mrelaxed-simd
"${OBJCOPY:-llvm-objcopy}" --add-section=bitnet.relaxed=build/relaxed.wasm model.wasm
