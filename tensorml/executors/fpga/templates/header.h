/* The rows and results of the circuit '${name}', as bytes: the order of AXI-Stream, the first field in the lowest bits.
 * What the integers mean: value = integer * step + zero. C99 and C++. */
#ifndef ${guard}
#define ${guard}

#include <stdint.h>
#include <string.h>

#define ${NAME}_INPUTS ${inputs}
#define ${NAME}_OUTPUTS ${outputs}
#define ${NAME}_IN_BYTES ${in_bytes}
#define ${NAME}_OUT_BYTES ${out_bytes}
#define ${NAME}_LATENCY ${latency} /* cycles from a row to its result in the circuit itself; its AXI-Stream takes 2 more */
#define ${NAME}_INTERVAL ${interval} /* cycles between two rows */

/* An integer in a row: where it begins and how many bits it has. fraction_bits: step is 2^-fraction_bits and zero is 0;
 * -1: it is not of that kind. */
typedef struct {
    const char *name;
    uint32_t offset;
    uint8_t width;
    uint8_t is_signed;
    int16_t fraction_bits;
    double step;
    double zero;
} ${name}_field;

static const ${name}_field ${name}_inputs[${NAME}_INPUTS] = {
${input_fields}
};

static const ${name}_field ${name}_outputs[${NAME}_OUTPUTS] = {
${output_fields}
};

/* Whether the field holds this integer. */
static inline int ${name}_fits(const ${name}_field *field, int64_t value) {
    if (!field->is_signed && value < 0) return 0;
    if (field->width == 64) return 1;
    int64_t high = (int64_t)((UINT64_C(1) << (field->width - field->is_signed)) - 1);
    return value <= high && value >= (field->is_signed ? -high - 1 : 0);
}

/* Write an integer that fits into a row. */
static inline void ${name}_put(uint8_t *row, const ${name}_field *field, int64_t value) {
    for (uint32_t done = 0; done < field->width;) {
        uint32_t at = field->offset + done, bit = at % 8, left = field->width - done;
        uint32_t count = 8 - bit < left ? 8 - bit : left;
        uint8_t mask = (uint8_t)(((1u << count) - 1u) << bit);
        uint8_t bits = (uint8_t)(((uint64_t)value >> done) << bit);
        row[at / 8] = (uint8_t)((row[at / 8] & ~mask) | (bits & mask));
        done += count;
    }
}

/* Read an integer from a row. */
static inline int64_t ${name}_get(const uint8_t *row, const ${name}_field *field) {
    uint64_t value = 0;
    for (uint32_t done = 0; done < field->width;) {
        uint32_t at = field->offset + done, bit = at % 8, left = field->width - done;
        uint32_t count = 8 - bit < left ? 8 - bit : left;
        value |= (uint64_t)(row[at / 8] >> bit & ((1u << count) - 1u)) << done;
        done += count;
    }
    if (field->is_signed && field->width < 64 && value >> (field->width - 1)) value |= ~UINT64_C(0) << field->width;
    return (int64_t)value;
}

/* The bytes of a row. Returns -1, or the position of the first integer that does not fit its field. */
static inline int ${name}_pack(uint8_t row[${NAME}_IN_BYTES], const int64_t values[${NAME}_INPUTS]) {
    memset(row, 0, ${NAME}_IN_BYTES);
    for (int i = 0; i < ${NAME}_INPUTS; ++i) {
        if (!${name}_fits(&${name}_inputs[i], values[i])) return i;
        ${name}_put(row, &${name}_inputs[i], values[i]);
    }
    return -1;
}

/* The integers of a result. */
static inline void ${name}_unpack(int64_t values[${NAME}_OUTPUTS], const uint8_t row[${NAME}_OUT_BYTES]) {
    for (int i = 0; i < ${NAME}_OUTPUTS; ++i) values[i] = ${name}_get(row, &${name}_outputs[i]);
}

/* What an integer of a field stands for. */
static inline double ${name}_value(const ${name}_field *field, int64_t value) {
    return (double)value * field->step + field->zero;
}

#endif
