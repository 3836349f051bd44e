/* From the values that a model reads to a row of the circuit '${name}': the same integers as tensorml's, bit for bit.
 * C99 and C++. The order of the columns is that of the rows that the model was fitted on.${remark}${columns} */
#ifndef ${guard}
#define ${guard}

#include <float.h>
#include <math.h>
#include "${name}.h"

#ifdef __FAST_MATH__
#error "-ffast-math takes comparisons with NaN away"
#endif
#if defined(FLT_EVAL_METHOD) && FLT_EVAL_METHOD != 0 && FLT_EVAL_METHOD != 16
#error "these numbers must be computed in their own precision: on x86, compile with -msse2 -mfpmath=sse"
#endif

#define ${NAME}_REFUSED (-1) /* a value that the model does not take: NaN, infinity, or none of its categories */
#define ${NAME}_OUTSIDE (-2) /* a value outside the range of its field, where FixedPoint(outside='refuse') was asked for */

/* How many of count ascending boundaries a value has reached; if strict, how many are below it. */
#define ${NAME}_RANK(type, suffix) \
    static inline int64_t ${name}_rank_##suffix(const type *boundaries, uint32_t count, int strict, type value) { \
        uint32_t low = 0, high = count; \
        while (low < high) { \
            uint32_t middle = low + (high - low) / 2; \
            if (strict ? boundaries[middle] < value : boundaries[middle] <= value) low = middle + 1; \
            else high = middle; \
        } \
        return low; \
    }
${NAME}_RANK(float, float)
${NAME}_RANK(double, double)

/* floor(steps + 0.5), within 2^62; NaN becomes the integer below all others. */
static inline int64_t ${name}_quantize(double steps) {
    const double most = 4611686018427387904.0;
    double up = steps + 0.5;
    if (up != up) return -INT64_MAX;
    if (up >= most) return INT64_C(1) << 62;
    if (up < -most) return -(INT64_C(1) << 62);
    int64_t q = (int64_t)up;
    return q - ((double)q > up);
}

/* Where an integer of a row goes: the nearest that the field holds; how many there were that it does not hold. */
static inline void ${name}_limit(uint8_t *row, int field, int64_t value, int64_t low, int64_t high, int *outside) {
    int64_t limited = value < low ? low : value > high ? high : value;
    *outside += limited != value;
    ${name}_put(row, &${name}_inputs[field], limited);
}
${tables}
/* The bytes of a row. Returns how many values were taken to the nearest that their field holds, 0 for most rows; or
 * ${NAME}_REFUSED or ${NAME}_OUTSIDE: then the row is of no use. */
static inline int ${name}_encode(uint8_t row[${NAME}_IN_BYTES], ${parameters}) {
    int outside = 0;
${body}
    memset(row, 0, ${NAME}_IN_BYTES);
${fields}
    return ${result};
}

#endif
