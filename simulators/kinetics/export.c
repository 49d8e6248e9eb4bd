#include "export.h"

#include "contrast.h"

void export_particles(const Model *m, ParticleRecord *out)
{
    const Particles *p = &m->particles;
    const double now = model_time(m, m->tick);
    for (size_t i = 0; i < p->count; i++) {
        const double atoms = p->volume[i] / m->par.atomic_volume_nm3;
        out[i] = (ParticleRecord){
            .uid = (int64_t)p->uid[i],
            .fibre = (int64_t)p->fibre[i],
            .s_nm = p->s[i],
            .y_nm = p->y[i],
            .volume_nm3 = p->volume[i],
            .base_radius_nm = p->base[i],
            .contact_angle_rad = cap_angle(p->tau[i]),
            .height_nm = cap_height(p->base[i], p->tau[i]),
            .radius_nm = cap_radius(p->base[i], p->tau[i]),
            .diameter_nm = 2.0 * p->base[i],
            .side_area_nm2 = cap_side_area(p->base[i], p->tau[i]),
            .phi = p->phi[i],
            .neck_nm = p->neck[i],
            .neck_direction_rad = p->neck_direction[i],
            .neck_share = p->neck_share[i],
            .grains = p->boundary_life[i] > 0.0 ? 2 : 1,
            .boundary_life_s = p->boundary_life[i],
            .crystalline = crystalline_share(atoms, m->par.atomic_volume_nm3),
            .current_A = p->current[i] * 1e-12,
            .feed = p->feed[i],
            .age_s = now - p->born[i],
            .born_s = p->born[i],
        };
    }
}

double export_side_area(const Model *m)
{
    const Particles *p = &m->particles;
    double sum = 0.0;
    for (size_t i = 0; i < p->count; i++)
        sum += cap_side_area(p->base[i], p->tau[i]);
    return sum;
}
