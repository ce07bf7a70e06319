// All kernels for one instruction set. CMakeLists.txt compiles this file once per set, with OSTINATO_ISA its
// namespace, OSTINATO_VECTOR_BYTES its width, and the compiler's flags for it.
#include "kernels.hpp"

#include "gated/cells.hpp"
#include "nade/curvature.hpp"
#include "nade/sample.hpp"
#include "rnn/rate_layer.hpp"

namespace ostinato::OSTINATO_ISA {

extern const KernelTable table;
const KernelTable table = {
    {forward<float>, adjoint<float>, tangent<float>, layer_forward<float>, layer_tangent<float>, layer_backward<float>,
     fed_back<float>, fed_back_adjoint<float>, rate_forward<float>, fed_back_backward<float>, noise<float>,
     count_if_sparse<float>,
     gated_forward<float>, gated_adjoint<float>, gated_tangent<float>, project<float>,
     nade<float>, nade_curvature<float>, nade_sample<float>},
    {forward<double>, adjoint<double>, tangent<double>, layer_forward<double>, layer_tangent<double>, layer_backward<double>,
     fed_back<double>, fed_back_adjoint<double>, rate_forward<double>, fed_back_backward<double>, noise<double>,
     count_if_sparse<double>,
     gated_forward<double>, gated_adjoint<double>, gated_tangent<double>, project<double>,
     nade<double>, nade_curvature<double>, nade_sample<double>},
};

}  // namespace ostinato::OSTINATO_ISA
