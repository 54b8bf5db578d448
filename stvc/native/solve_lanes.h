/* Small normal equations side by side, one system in each lane: see solve.c. */
#ifndef STVC_SOLVE_LANES_H
#define STVC_SOLVE_LANES_H

#include "kernels.h"

#include <string.h>

enum { SIDE_BY_SIDE = 16 };

static const double SMALLEST = 1e-9, RIDGE = 1.05;

/* As numpy: what is not a number stays so. */
STVC_INLINE double larger(double a, double b)
{
    return a < b ? b : a;
}

/* (K, K + 1) of them, the right sides last: these become the solutions. */
STVC_INLINE void solve_some(double s[LOCAL_VARIABLES][LOCAL_VARIABLES + 1][SIDE_BY_SIDE])
{
    enum { K = LOCAL_VARIABLES, N = SIDE_BY_SIDE };
    for (int i = 0; i < K; i++)
        for (int p = 0; p < N; p++)
            s[i][i][p] = larger(s[i][i][p], SMALLEST) * RIDGE;
    for (int i = 0; i < K; i++) {
        double scaled[K + 1][N];
        for (int l = i + 1; l <= K; l++)
            for (int p = 0; p < N; p++)
                scaled[l][p] = s[i][l][p] / larger(s[i][i][p], SMALLEST);
        for (int j = i + 1; j < K; j++)
            for (int l = j; l <= K; l++)
                for (int p = 0; p < N; p++)
                    s[j][l][p] -= s[i][j][p] * scaled[l][p];
        for (int l = i + 1; l <= K; l++)
            memcpy(s[i][l], scaled[l], sizeof scaled[l]);
    }
    for (int i = K - 1; i > 0; i--)
        for (int j = 0; j < i; j++)
            for (int p = 0; p < N; p++)
                s[j][K][p] -= s[j][i][p] * s[i][K][p];
}

#endif
