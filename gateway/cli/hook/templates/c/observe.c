/* Reports outputs that are longer lists than the site expects: 1,000 items unless its settings say more. */
#include <missiongate.h>

static const int64_t items_max = 1000;

static void run(const mg_observe *observe) {
    mg_expect(observe->settings, MG_NAMES("items_max"));
    int64_t most = mg_integer_member(observe->settings, "items_max", 0, UINT32_MAX, items_max);

    const mg_value *output = mg_member(observe->document, "output");
    if (mg_kind_of(output) == MG_ARRAY && (int64_t)mg_count(output) > most) {
        mg_refuse("output.many_items", "the output has more items than the site expects");
    }
}

MG_OBSERVE(run)
