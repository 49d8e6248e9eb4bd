/* A particle as columns along the beam: how much of its area is how thick. */
#ifndef STMTEM_COLUMNS_H
#define STMTEM_COLUMNS_H

#include "model.h"

#define COLUMN_CLASSES 16

typedef struct {
    double volume;                    /* nm3, inside the aperture */
    double mean;                      /* thickness that a unit of volume is in, nm; 0: no volume */
    double thickness[COLUMN_CLASSES]; /* nm */
    double area[COLUMN_CLASSES];      /* nm2 */
} Columns;

/* A round opening over the specimen, nm. */
typedef struct {
    double x, y, diameter;
} Aperture;

/* Columns of particle i that lie in the aperture: those of its cap on the tangent plane of the
 * fibre, made as thick as gives `volume` to the whole particle. */
void columns_of(const Model *m, size_t i, const Aperture *aperture, double volume, Columns *out);

/* Areas of the carbon fibres in the aperture, weighted over their chords t: sums of t, of
 * (1 - exp(-depth t))/depth and of 1 - exp(-loss t), nm3, nm3 and nm2. */
typedef struct {
    double volume, single, lossy;
} Carbon;
Carbon carbon_in(const Model *m, const Aperture *aperture, double depth, double loss);

#endif
