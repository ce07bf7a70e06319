// All kernels for one instruction set. CMakeLists.txt compiles this file once per set, with OSTINATO_ISA its
// namespace, OSTINATO_VECTOR_BYTES its width, and the compiler's flags for it.
#include "binary.hpp"
#include "nade_sample.hpp"
#include "scan.hpp"

namespace ostinato::OSTINATO_ISA {

extern const KernelTable table;
const KernelTable table = {
    {forward<float>, adjoint<float>, tangent<float>, binary_linear<float>, binary_weight_grad<float>,
     nade<float>, nade_sample<float>},
    {forward<double>, adjoint<double>, tangent<double>, binary_linear<double>, binary_weight_grad<double>,
     nade<double>, nade_sample<double>},
};

}  // namespace ostinato::OSTINATO_ISA
