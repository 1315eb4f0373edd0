/* Denies http steps whose address begins with none of the prefixes that the site allows: https:// unless its settings say more. */
#include <missiongate.h>

static const size_t prefixes_max = 64;

static bool starts_with(mg_text text, mg_text prefix) {
    return text.len >= prefix.len && mg_same((mg_text){text.bytes, prefix.len}, prefix);
}

static const mg_value *run(const mg_screen *screen) {
    mg_expect(screen->settings, MG_NAMES("prefixes"));
    const mg_value *prefixes = mg_strings_member(screen->settings, "prefixes", 0, prefixes_max);
    if (!prefixes) prefixes = mg_push(mg_array(), mg_string(MG_TEXT("https://")));

    const mg_value *kind = mg_require_string(mg_member(screen->document, "step"), "step_type");
    if (!mg_is(kind, "http")) return mg_abstain();

    const mg_value *url = mg_string_member(mg_member(screen->document, "parameters"), "url");
    for (size_t i = 0; url && i < mg_count(prefixes); i++) {
        if (starts_with(mg_text_of(url), mg_text_of(mg_at(prefixes, i)))) return mg_allow();
    }
    return mg_deny("url", "the address begins with none of the site's prefixes");
}

MG_SCREEN(run)
