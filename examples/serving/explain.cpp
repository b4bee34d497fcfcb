// Explain outputs of a network with libtorch alone, from the file that the service uses.
//
//     python build.py explain.cpp explain
//     ./explain explain.ts 1,32,32 images.raw rows.raw 7 top 3
//
// images.raw holds one image for each index, one after the other, in the dtype of the network (float32, unless
// it was saved in float64); rows.raw gets their rows in the same way. All images go through one call. For each
// a line is printed: index, score and residual, with <row, image> + residual = score.

#include <ATen/core/ivalue.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/tensor.h>
#include <c10/core/InferenceMode.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/serialization/import.h>

#include <cstdio>
#include <exception>
#include <fstream>
#include <iterator>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

constexpr int64_t top = -1;  // the place of the largest output, until it is known

int64_t whole(const std::string& text) {
    if (text.empty() || text.size() > 18 || text.find_first_not_of("0123456789") != std::string::npos)
        throw std::runtime_error("'" + text + "' is not a whole number");
    return std::stoll(text);
}

std::vector<int64_t> sizes(const std::string& text) {
    std::vector<int64_t> found;
    std::stringstream parts(text);
    for (std::string part; std::getline(parts, part, ',');) found.push_back(whole(part));
    return found;
}

at::Tensor read(const std::string& path, const std::vector<int64_t>& shape, at::ScalarType dtype) {
    std::ifstream file(path, std::ios::binary);
    if (!file) throw std::runtime_error("cannot read " + path);
    std::vector<char> bytes(std::istreambuf_iterator<char>(file), {});
    const size_t expected = c10::multiply_integers(shape) * c10::elementSize(dtype);
    if (bytes.size() != expected)
        throw std::runtime_error(path + " has " + std::to_string(bytes.size()) + " bytes, not " +
                                 std::to_string(expected));
    return at::from_blob(bytes.data(), shape, at::TensorOptions(dtype)).clone();
}

int run(int count, char** given) {
    auto graph = torch::jit::load(given[1]);
    graph.eval();
    auto dtype = at::kFloat;
    for (const auto& weight : graph.parameters()) {
        dtype = weight.scalar_type();
        break;
    }
    std::vector<int64_t> places;
    for (int i = 5; i < count; ++i) places.push_back(given[i] == std::string("top") ? top : whole(given[i]));
    auto shape = sizes(given[2]);
    shape.insert(shape.begin(), places.size());
    auto x0 = read(given[3], shape, dtype);

    c10::InferenceMode guard;
    auto index = at::tensor(places, at::kLong).unsqueeze(0);  // (K, B) with K = 1
    if (index.eq(top).any().item<bool>()) {  // the largest output is not known before a call
        auto y0 = graph.forward({x0, index.clamp_min(0)}).toTuple()->elements()[0].toTensor();
        index = y0.reshape({x0.size(0), -1}).argmax(1).unsqueeze(0).where(index.eq(top), index);
    }
    auto result = graph.forward({x0, index});
    const auto& found = result.toTuple()->elements();
    auto y0 = found[0].toTensor().reshape({x0.size(0), -1}), r = found[2].toTensor()[0];
    auto row = found[1].toTensor().contiguous();
    for (int64_t b = 0; b < x0.size(0); ++b) {
        auto i = index[0][b].item<int64_t>();
        std::printf("%lld %.17g %.17g\n", (long long)i, y0[b][i].item<double>(), r[b].item<double>());
    }
    std::ofstream file(given[4], std::ios::binary);
    file.write(static_cast<const char*>(row.data_ptr()), row.nbytes());
    if (!file.flush()) throw std::runtime_error(std::string("cannot write ") + given[4]);
    return 0;
}

int told(std::string message) {  // TorchScript puts its own trace before the error itself
    while (!message.empty() && message.back() == '\n') message.pop_back();
    std::fprintf(stderr, "explain: %s\n", message.substr(message.rfind('\n') + 1).c_str());
    return 1;
}

int main(int count, char** given) {
    if (count < 6) {
        std::fprintf(stderr, "usage: explain FILE.ts C,H,W IMAGES.raw ROWS.raw INDEX|top...\n");
        return 2;
    }
    try {
        return run(count, given);
    } catch (const c10::Error& error) {
        return told(error.what_without_backtrace());
    } catch (const std::exception& error) {
        return told(error.what());
    }
}
