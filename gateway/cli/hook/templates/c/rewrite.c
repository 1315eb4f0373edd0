/* Takes white space off both ends of the parameters that the site names: of `message` unless its settings say more. */
#include <missiongate.h>

static const size_t fields_max = 64;

static bool is_named(const mg_value *fields, mg_text name) {
    for (size_t i = 0; i < mg_count(fields); i++) {
        if (mg_same(mg_text_of(mg_at(fields, i)), name)) return true;
    }
    return false;
}

static bool is_space(char byte) {
    return byte == ' ' || byte == '\t' || byte == '\r' || byte == '\n';
}

static mg_text trimmed(mg_text text) {
    while (text.len > 0 && is_space(text.bytes[0])) text.bytes++, text.len--;
    while (text.len > 0 && is_space(text.bytes[text.len - 1])) text.len--;
    return text;
}

static const mg_value *run(const mg_rewrite *rewrite) {
    mg_expect(rewrite->settings, MG_NAMES("fields"));
    const mg_value *fields = mg_strings_member(rewrite->settings, "fields", 0, fields_max);
    if (!fields) fields = mg_push(mg_array(), mg_string(MG_TEXT("message")));
    if (mg_kind_of(rewrite->value) != MG_OBJECT) return rewrite->value;

    mg_value *parameters = mg_object();
    for (size_t i = 0; i < mg_count(rewrite->value); i++) {
        mg_text name = mg_name_at(rewrite->value, i);
        const mg_value *value = mg_at(rewrite->value, i);
        if (mg_kind_of(value) == MG_STRING && is_named(fields, name)) value = mg_string(trimmed(mg_text_of(value)));
        mg_set_text(parameters, name, value);
    }
    return parameters;
}

MG_REWRITE(run)
