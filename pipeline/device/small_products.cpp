// Products of small matrices of float32, on processors with AVX-512.
//
// A block of the result stays in registers while the depth is gone through: each number of `a` is spread over a
// register and multiplied with a row of `b`. Loops over a block are unrolled, or its sums would be in memory. Every
// number of the result is one sum in the order of the depth, whichever rows are beside it.

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <immintrin.h>
#include <torch/library.h>

#include <algorithm>
#include <vector>

namespace {

constexpr int LANES = 16;

// A matrix in memory: where it begins, and how far apart its rows and its columns are.
template <typename Number>
struct Matrix {
  Number* at;
  int64_t row, column;

  Matrix from(int64_t rows, int64_t columns) const { return {at + rows * row + columns * column, row, column}; }
};

// Which of a block's last LANES columns there are; all of those before.
struct Columns {
  __mmask16 last;

  template <int VECTORS>
  __mmask16 of(int vector) const { return vector + 1 == VECTORS ? last : __mmask16(0xffff); }
};

template <int ROWS, int VECTORS>
[[gnu::always_inline]] inline void block(Matrix<const float> a, Matrix<const float> b, Matrix<const float> start,
                                         Matrix<float> out, int64_t depth, Columns columns) {
  __m512 sums[ROWS][VECTORS];
#pragma GCC unroll 16
  for (int r = 0; r < ROWS; ++r)
#pragma GCC unroll 16
    for (int v = 0; v < VECTORS; ++v)
      sums[r][v] = start.at ? _mm512_maskz_loadu_ps(columns.of<VECTORS>(v), start.at + r * start.row + v * LANES)
                            : _mm512_setzero_ps();
  for (int64_t k = 0; k < depth; ++k) {
    __m512 row[VECTORS];
#pragma GCC unroll 16
    for (int v = 0; v < VECTORS; ++v)
      row[v] = _mm512_maskz_loadu_ps(columns.of<VECTORS>(v), b.at + k * b.row + v * LANES);
#pragma GCC unroll 16
    for (int r = 0; r < ROWS; ++r) {
      const __m512 factor = _mm512_set1_ps(a.at[r * a.row + k * a.column]);
#pragma GCC unroll 16
      for (int v = 0; v < VECTORS; ++v) sums[r][v] = _mm512_fmadd_ps(factor, row[v], sums[r][v]);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < ROWS; ++r)
#pragma GCC unroll 16
    for (int v = 0; v < VECTORS; ++v)
      _mm512_mask_storeu_ps(out.at + r * out.row + v * LANES, columns.of<VECTORS>(v), sums[r][v]);
}

// As many blocks as there are rows for, from `first`; returns the first row that is left.
template <int ROWS, int VECTORS>
int64_t blocks(int64_t first, Matrix<const float> a, Matrix<const float> b, Matrix<const float> start,
               Matrix<float> out, int64_t rows, int64_t depth, Columns columns) {
  for (; first + ROWS <= rows; first += ROWS)
    block<ROWS, VECTORS>(a.from(first, 0), b, start.from(first, 0), out.from(first, 0), depth, columns);
  return first;
}

template <int VECTORS>
void all_rows(Matrix<const float> a, Matrix<const float> b, Matrix<const float> start, Matrix<float> out, int64_t rows,
              int64_t depth, Columns columns) {
  constexpr int MANY = VECTORS == 1 ? 12 : VECTORS == 2 ? 10 : VECTORS == 3 ? 8 : 6;  // as 32 registers hold
  int64_t left = blocks<MANY, VECTORS>(0, a, b, start, out, rows, depth, columns);
  left = blocks<4, VECTORS>(left, a, b, start, out, rows, depth, columns);
  blocks<1, VECTORS>(left, a, b, start, out, rows, depth, columns);
}

at::Tensor small_product(const at::Tensor& a, const at::Tensor& b, const std::optional<at::Tensor>& added) {
  const int64_t rows = a.size(0), depth = a.size(1), width = b.size(1);
  at::Tensor out = at::empty({rows, width}, a.options());
  const at::Tensor start = added ? (added->stride(-1) == 1 ? *added : added->contiguous()) : at::Tensor();

  Matrix<const float> of_b{b.const_data_ptr<float>(), b.stride(0), b.stride(1)};
  std::vector<float> packed;
  if (of_b.column != 1) {
    packed.resize(depth * width);
    for (int64_t c = 0; c < width; ++c)
      for (int64_t k = 0; k < depth; ++k) packed[k * width + c] = of_b.at[k * of_b.row + c * of_b.column];
    of_b = {packed.data(), width, 1};
  }
  const Matrix<const float> of_a{a.const_data_ptr<float>(), a.stride(0), a.stride(1)};
  const Matrix<const float> of_start{added ? start.const_data_ptr<float>() : nullptr,
                                     added && start.dim() == 2 ? start.stride(0) : 0, added ? 1 : 0};
  const Matrix<float> of_out{out.mutable_data_ptr<float>(), width, 1};

  for (int64_t c = 0; c < width; c += 4 * LANES) {
    const int64_t here = std::min<int64_t>(4 * LANES, width - c), vectors = (here + LANES - 1) / LANES;
    const auto of = vectors == 1 ? all_rows<1> : vectors == 2 ? all_rows<2> : vectors == 3 ? all_rows<3> : all_rows<4>;
    of(of_a, of_b.from(0, c), of_start.from(0, c), of_out.from(0, c), rows, depth,
       {__mmask16(0xffff >> (vectors * LANES - here))});
  }
  return out;
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(odenet, library) {
  library.def("small_product(Tensor a, Tensor b, Tensor? added) -> Tensor");
}
TORCH_LIBRARY_IMPL(odenet, CPU, library) { library.impl("small_product", small_product); }
