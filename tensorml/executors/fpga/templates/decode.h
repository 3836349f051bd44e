/* From the results of the circuit '${name}' to what the model's methods return. C99 and C++; link with -lm.
 * The same bits as tensorml's, but for exp, log and the like, which are the C library's, and for sums of several terms:
 * these agree within some units in the last place. */
#ifndef ${guard}
#define ${guard}

#include <math.h>
#include "${name}.h"

#ifdef __FAST_MATH__
#error "-ffast-math computes other numbers, and ties between classes with them"
#endif
#if defined(FLT_EVAL_METHOD) && FLT_EVAL_METHOD != 0 && FLT_EVAL_METHOD != 16
#error "these numbers must be computed in their own precision: on x86, compile with -msse2 -mfpmath=sse"
#endif
${tables}
/* Each takes the bytes of a result, as they come from AXI-Stream. */

${functions}
#endif
