// What a call of each file costs in C++, interleaved: serving RUNS C,H,W B FILE.ts... prints medians in
// milliseconds of processor time. Each file takes (x0, index).

#include <ATen/ops/rand.h>
#include <ATen/ops/zeros.h>
#include <c10/core/InferenceMode.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/serialization/import.h>

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <sstream>
#include <string>
#include <vector>

int main(int count, char** given) {
    const int runs = std::stoi(given[1]);
    const int64_t batch = std::stoll(given[3]);
    std::vector<int64_t> shape{batch};
    std::stringstream parts(given[2]);
    for (std::string part; std::getline(parts, part, ',');) shape.push_back(std::stoll(part));
    c10::InferenceMode guard;
    auto x0 = at::rand(shape), index = at::zeros({1, batch}, at::kLong);
    std::vector<torch::jit::Module> graphs;
    for (int i = 4; i < count; ++i) graphs.push_back(torch::jit::load(given[i]));
    std::vector<std::vector<double>> times(graphs.size());
    for (int run = -2; run < runs; ++run)  // TorchScript optimises in its first two calls
        for (size_t i = 0; i < graphs.size(); ++i) {
            auto start = std::clock();
            graphs[i].forward({x0, index});
            if (run >= 0) times[i].push_back(1e3 * (std::clock() - start) / CLOCKS_PER_SEC);
        }
    for (auto& each : times) {
        std::sort(each.begin(), each.end());
        std::printf("%.4f\n", each[each.size() / 2]);
    }
}
