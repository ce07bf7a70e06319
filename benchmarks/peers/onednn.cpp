// oneDNN's recurrent layers, through its C++ library (2.x): a whole pass of vanilla_rnn, lbr_gru (the GRU that torch
// and cuDNN have) or lstm, forward and backward, with the weights repacked and their gradients unpacked, as whoever
// trains has to at every step. benchmarks/recurrence.py compiles it and calls it through ctypes.
#include <omp.h>

#include <oneapi/dnnl/dnnl.hpp>
#include <unordered_map>
#include <vector>

using namespace dnnl;
using Tag = memory::format_tag;
using Arguments = std::unordered_map<int, memory>;

namespace {

struct Pass {
  virtual ~Pass() = default;
  virtual void run() = 0;
};

memory::desc described(const memory::dims& dims, Tag tag) { return {dims, memory::data_type::f32, tag}; }

// One kind of layer: the arguments of its descriptors differ, nothing else.
template <class Forward, class Backward>
class PassOf : public Pass {
 public:
  PassOf(int kind, int steps, int streams, int inputs, int hidden)
      : cpu_(engine::kind::cpu, 0), queue_(cpu_), lstm_(kind == 2) {
    const int gates = kind == 0 ? 1 : kind == 1 ? 3 : 4, biases = kind == 0 ? 1 : 4;
    const auto x = described({steps, streams, inputs}, Tag::tnc), y = described({steps, streams, hidden}, Tag::tnc);
    const auto h = described({1, 1, streams, hidden}, Tag::ldnc), b = described({1, 1, biases, hidden}, Tag::ldgo);
    const memory::dims u{1, 1, inputs, gates, hidden}, w{1, 1, hidden, gates, hidden};
    const auto any_u = described(u, Tag::any), any_w = described(w, Tag::any);
    forward_desc_ = forward_of(kind, x, h, any_u, any_w, b, y);
    const auto back = backward_of(kind, x, h, any_u, any_w, b, y);
    forward_ = Forward(forward_desc_), backward_ = Backward(back);

    const auto plain_u = filled(described(u, Tag::ldigo)), plain_w = filled(described(w, Tag::ldigo));
    const auto forward_u = empty(forward_desc_.weights_layer_desc());
    const auto forward_w = empty(forward_desc_.weights_iter_desc());
    const auto back_u = empty(back.weights_layer_desc()), back_w = empty(back.weights_iter_desc());
    const auto grad_u = empty(back.diff_weights_layer_desc()), grad_w = empty(back.diff_weights_iter_desc());
    const auto space = empty(forward_desc_.workspace_desc());
    before_ = {{plain_u, forward_u}, {plain_w, forward_w}};
    between_ = {{plain_u, back_u}, {plain_w, back_w}};
    after_ = {{grad_u, empty(described(u, Tag::ldigo))}, {grad_w, empty(described(w, Tag::ldigo))}};
    zeroed_ = {grad_u, grad_w};

    Arguments common{{DNNL_ARG_SRC_LAYER, filled(x)}, {DNNL_ARG_SRC_ITER, filled(h)}, {DNNL_ARG_BIAS, filled(b)},
                     {DNNL_ARG_DST_LAYER, empty(y)}, {DNNL_ARG_DST_ITER, empty(h)}, {DNNL_ARG_WORKSPACE, space}};
    if (lstm_) common.insert({{DNNL_ARG_SRC_ITER_C, filled(h)}, {DNNL_ARG_DST_ITER_C, empty(h)}});
    given_ = common, back_given_ = common;
    given_.insert({{DNNL_ARG_WEIGHTS_LAYER, forward_u}, {DNNL_ARG_WEIGHTS_ITER, forward_w}});
    const auto grad_b = empty(b);
    zeroed_.push_back(grad_b);
    back_given_.insert({{DNNL_ARG_WEIGHTS_LAYER, back_u}, {DNNL_ARG_WEIGHTS_ITER, back_w},
                        {DNNL_ARG_DIFF_SRC_LAYER, empty(x)}, {DNNL_ARG_DIFF_SRC_ITER, empty(h)},
                        {DNNL_ARG_DIFF_WEIGHTS_LAYER, grad_u}, {DNNL_ARG_DIFF_WEIGHTS_ITER, grad_w},
                        {DNNL_ARG_DIFF_BIAS, grad_b}, {DNNL_ARG_DIFF_DST_LAYER, filled(y)},
                        {DNNL_ARG_DIFF_DST_ITER, empty(h)}});
    if (lstm_) back_given_.insert({{DNNL_ARG_DIFF_SRC_ITER_C, empty(h)}, {DNNL_ARG_DIFF_DST_ITER_C, empty(h)}});
  }

  void run() override {
    repack(before_);
    forward_.execute(queue_, given_);
    repack(between_);
    for (const memory& m : zeroed_) clear(m);  // gradients are added up
    backward_.execute(queue_, back_given_);
    repack(after_);
    queue_.wait();
  }

 private:
  using Pairs = std::vector<std::pair<memory, memory>>;

  memory empty(const memory::desc& desc) {
    memory made(desc, cpu_);
    clear(made);
    return made;
  }
  memory filled(const memory::desc& desc) {
    memory made = empty(desc);
    auto* numbers = static_cast<float*>(made.get_data_handle());
    for (size_t i = 0; i < desc.get_size() / sizeof(float); ++i)
      numbers[i] = static_cast<float>((i * 2654435761u >> 8) % 1000) * 1e-4f - 0.05f;
    return made;
  }
  static void clear(const memory& m) { __builtin_memset(m.get_data_handle(), 0, m.get_desc().get_size()); }
  void repack(Pairs& pairs) {
    for (auto& [from, to] : pairs) reorder(from, to).execute(queue_, from, to);
  }

  auto forward_of(int, const memory::desc& x, const memory::desc& h, const memory::desc& u, const memory::desc& w,
                  const memory::desc& b, const memory::desc& y) {
    const auto kind = prop_kind::forward_training;
    const auto way = rnn_direction::unidirectional_left2right;
    if constexpr (std::is_same_v<Forward, vanilla_rnn_forward>)
      return typename Forward::primitive_desc({kind, algorithm::eltwise_tanh, way, x, h, u, w, b, y, h}, cpu_);
    else if constexpr (std::is_same_v<Forward, lstm_forward>)
      return typename Forward::primitive_desc({kind, way, x, h, h, u, w, b, y, h, h}, cpu_);
    else
      return typename Forward::primitive_desc({kind, way, x, h, u, w, b, y, h}, cpu_);
  }

  auto backward_of(int, const memory::desc& x, const memory::desc& h, const memory::desc& u, const memory::desc& w,
                   const memory::desc& b, const memory::desc& y) {
    const auto kind = prop_kind::backward;
    const auto way = rnn_direction::unidirectional_left2right;
    if constexpr (std::is_same_v<Forward, vanilla_rnn_forward>)
      return typename Backward::primitive_desc(
          {kind, algorithm::eltwise_tanh, way, x, h, u, w, b, y, h, x, h, u, w, b, y, h}, cpu_, forward_desc_);
    else if constexpr (std::is_same_v<Forward, lstm_forward>)
      return typename Backward::primitive_desc({kind, way, x, h, h, u, w, b, y, h, h, x, h, h, u, w, b, y, h, h}, cpu_,
                                               forward_desc_);
    else
      return typename Backward::primitive_desc({kind, way, x, h, u, w, b, y, h, x, h, u, w, b, y, h}, cpu_, forward_desc_);
  }

  engine cpu_;
  stream queue_;
  bool lstm_;
  typename Forward::primitive_desc forward_desc_;
  Forward forward_;
  Backward backward_;
  Arguments given_, back_given_;
  Pairs before_, between_, after_;
  std::vector<memory> zeroed_;
};

}  // namespace

extern "C" {

// kind: 0 vanilla_rnn, 1 lbr_gru, 2 lstm
void* make_pass(int kind, int steps, int streams, int inputs, int hidden, int threads) {
  omp_set_num_threads(threads);
  if (kind == 0) return new PassOf<vanilla_rnn_forward, vanilla_rnn_backward>(kind, steps, streams, inputs, hidden);
  if (kind == 1) return new PassOf<lbr_gru_forward, lbr_gru_backward>(kind, steps, streams, inputs, hidden);
  return new PassOf<lstm_forward, lstm_backward>(kind, steps, streams, inputs, hidden);
}

void run_pass(void* pass) { static_cast<Pass*>(pass)->run(); }
}
