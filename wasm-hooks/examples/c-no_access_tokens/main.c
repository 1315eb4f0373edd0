/*
 * no_access_tokens: denies a step whose parameters carry what looks like an access token: one of the prefixes that
 * the site names, and behind it enough letters, digits, - and _ to be more than a word.
 */
#include <missiongate.h>

static const size_t prefixes_max = 32;

static bool is_token_byte(char byte) {
    bool letter = (byte | 0x20) >= 'a' && (byte | 0x20) <= 'z';
    return letter || (byte >= '0' && byte <= '9') || byte == '-' || byte == '_';
}

/* Whether a token begins with `prefix` somewhere in the text, and has at least `least` bytes behind it. */
static bool has_token(mg_text text, mg_text prefix, size_t least) {
    if (prefix.len == 0) return false;
    for (size_t at = mg_find(text, 0, prefix); at < text.len; at = mg_find(text, at + 1, prefix)) {
        if (at > 0 && is_token_byte(text.bytes[at - 1])) continue;
        size_t end = at + prefix.len;
        while (end < text.len && is_token_byte(text.bytes[end])) end++;
        if (end - at - prefix.len >= least) return true;
    }
    return false;
}

typedef struct {
    const mg_value *prefixes;
    size_t least;
} rules;

static bool is_bad_text(const rules *site, mg_text text) {
    for (size_t i = 0; i < mg_count(site->prefixes); i++) {
        if (has_token(text, mg_text_of(mg_at(site->prefixes, i)), site->least)) return true;
    }
    return false;
}

/* Looks at every string, and at every name, however deep: the SDK reads documents at most 128 deep. */
static bool is_bad(const rules *site, const mg_value *value) {
    if (mg_kind_of(value) == MG_STRING) return is_bad_text(site, mg_text_of(value));
    for (size_t i = 0; i < mg_count(value); i++) {
        if (mg_kind_of(value) == MG_OBJECT && is_bad_text(site, mg_name_at(value, i))) return true;
        if (is_bad(site, mg_at(value, i))) return true;
    }
    return false;
}

static const mg_value *run(const mg_screen *screen) {
    mg_expect(screen->settings, MG_NAMES("prefixes", "length_min"));
    rules site = {
        .prefixes = mg_strings_member(screen->settings, "prefixes", 1, prefixes_max),
        .least = (size_t)mg_integer_member(screen->settings, "length_min", 1, 1024, 16),
    };
    if (!site.prefixes) mg_invalid("prefixes: missing");
    if (mg_refused()) return NULL;
    if (!is_bad(&site, mg_member(screen->document, "parameters"))) return mg_allow();
    return mg_deny("found", "the parameters carry what looks like an access token");
}

MG_SCREEN(run)
