#include "grains.h"

#include "contrast.h"

#define LATE_SHARE 0.28    /* of the second grain when the neck has closed: as it is drawn */
#define CRYSTAL_ATOMS 50.0 /* fewer in order are no crystal */

double grain_second_share(const Model *m, size_t i)
{
    const Particles *p = &m->particles;
    if (p->boundary_life[i] <= 0.0)
        return 0.0;
    return p->neck_share[i] > 0.0 ? p->neck_share[i] : LATE_SHARE;
}

double grain_crystalline(const Model *m, size_t i)
{
    const double omega = m->par.atomic_volume_nm3, atoms = m->particles.volume[i] / omega;
    const double share = crystalline_share(atoms, omega);
    return share * atoms < CRYSTAL_ATOMS ? 0.0 : share;
}

size_t grain_records(const Model *m, GrainRecord *out)
{
    const Particles *p = &m->particles;
    size_t count = 0;
    for (size_t i = 0; i < p->count; i++) {
        const double second = grain_second_share(m, i), crystalline = grain_crystalline(m, i);
        for (int k = 0; k < (second > 0.0 ? 2 : 1); k++) {
            GrainRecord *g = &out[count++];
            *g = (GrainRecord){
                .uid = (int64_t)p->uid[i],
                .lattice = (int64_t)(k ? p->lattice_2[i] : p->lattice[i]),
                .volume_nm3 = p->volume[i] * (k ? second : 1.0 - second),
                .crystalline = crystalline,
            };
            lattice_rotation(m->seed, (uint64_t)g->lattice, g->rotation);
        }
    }
    return count;
}
