/** Denies http steps whose address begins with none of the prefixes that the site allows: https:// unless its settings say more. */

import { exportScreen, Screen, Value, Verdict } from "missiongate";

const PREFIXES_MAX = 64;

exportScreen(run);

function run(screen: Screen): Verdict {
  screen.settings.expect(["prefixes"]);
  let prefixes = screen.settings.strings("prefixes", 0, PREFIXES_MAX);
  if (prefixes === null) prefixes = Value.array().push(Value.text("https://"));

  const kind = screen.object("step").requireString("step_type");
  if (!kind.is("http")) return Verdict.abstain();

  const url = screen.object("parameters").string("url");
  if (url !== null) {
    const address = url.asText();
    for (let i = 0; i < prefixes.length; i++) {
      if (address.startsWith(prefixes.item(i).asText())) return Verdict.allow();
    }
  }
  return Verdict.deny("url", "the address begins with none of the site's prefixes");
}
