/* Sums that must not lose anything: volumes and charges over a whole run. */
#ifndef STMTEM_LEDGER_H
#define STMTEM_LEDGER_H

/* A sum carried in two doubles, so that the charge balance survives complete stripping. */
typedef struct {
    double high, low;
} LongSum;

static inline void long_sum_add(LongSum *sum, double term)
{
    const double total = sum->high + term;
    const double back = total - sum->high;
    const double lost = (sum->high - (total - back)) + (term - back);
    sum->low += lost;
    sum->high = total + sum->low;
    sum->low -= sum->high - total;
}

static inline double long_sum_value(const LongSum *sum)
{
    return sum->high + sum->low;
}

#endif
