/* Members of a Kernels table; included inside its initialiser. */
.exchange = exchange_kernel,
.currents = currents_kernel,
.grow = grow_kernel,
.ledger = ledger_kernel,
.facets = facets_kernel,
.walk = walk_kernel,
.excursion = excursion_kernel,
