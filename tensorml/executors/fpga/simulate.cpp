// Runs rows through a circuit that Verilator made into the class Model. One loop, no state between calls.
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <vector>

#include "Model.h"
#include "verilated.h"

namespace {

// Ports up to 64 bits are integers; wider ones are arrays of 32-bit words.
template <typename Port>
void put(Port& port, const uint32_t* words) {
    if constexpr (!std::is_integral<Port>::value) {
        std::memcpy(&port, words, sizeof(Port));
    } else if constexpr (sizeof(Port) == 8) {
        port = words[0] | static_cast<uint64_t>(words[1]) << 32;
    } else {
        port = static_cast<Port>(words[0]);
    }
}

template <typename Port>
void get(const Port& port, uint32_t* words) {
    if constexpr (!std::is_integral<Port>::value) {
        std::memcpy(words, &port, sizeof(Port));
    } else if constexpr (sizeof(Port) == 8) {
        words[0] = static_cast<uint32_t>(port);
        words[1] = static_cast<uint32_t>(port >> 32);
    } else {
        words[0] = port;
    }
}

void rise(Model& model) {
    model.clk = 1;
    model.eval();
}

void fall(Model& model) {
    model.clk = 0;
    model.eval();
}

void reset(Model& model) {
    model.in_valid = 0;
    model.rst = 1;
    for (int cycle = 0; cycle < 2; ++cycle) {
        fall(model);
        rise(model);
    }
    model.rst = 0;
}

}  // namespace

enum Status { DONE = 0, NOT_TAKEN = 1, NO_RESULT = 2, LATE = 3, TOO_MANY = 4 };

// in: rows of in_words words, out: room for rows of out_words words. patience: the cycles to wait for a row to be taken.
// seen: where it stopped: cycles since reset, rows taken, results, latency of the last result.
extern "C" __attribute__((visibility("default"))) int run_rows(
    int64_t rows, const uint32_t* in, int64_t in_words, uint32_t* out, int64_t out_words, int64_t latency,
    int64_t patience, int64_t* seen) {
    VerilatedContext context;
    Model model(&context);
    std::vector<int64_t> taken_at(rows);
    int64_t &cycle = seen[0], &taken = seen[1], &results = seen[2], &took = seen[3];
    int64_t waiting = 0;
    reset(model);
    // After the last result, as many cycles again: a circuit that gives a row twice is found out.
    for (int64_t after = 0; after <= latency; ++cycle) {
        model.in_valid = taken < rows;
        if (taken < rows) put(model.in_row, in + taken * in_words);
        fall(model);
        if (model.in_valid && model.in_ready) {
            taken_at[taken++] = cycle;
            waiting = 0;
        } else if (taken < rows && ++waiting > patience) {
            return NOT_TAKEN;
        }
        if (model.out_valid) {
            if (results == taken) return TOO_MANY;
            took = cycle - taken_at[results];
            if (took != latency) return LATE;
            get(model.out_row, out + results++ * out_words);
        } else if (results < taken && cycle - taken_at[results] >= latency) {
            return NO_RESULT;
        }
        if (results == rows) ++after;
        rise(model);
    }
    model.final();
    return DONE;
}
