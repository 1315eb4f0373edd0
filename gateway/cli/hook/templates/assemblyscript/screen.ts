/** Denies http steps whose address begins with none of the prefixes that the site allows. */

import { exportScreen, invalid, Screen, Verdict } from "missiongate";

const PREFIXES_MAX = 64;

exportScreen(run);

function run(screen: Screen): Verdict {
  screen.settings.expect(["prefixes"]);
  const prefixes = screen.settings.strings("prefixes", 0, PREFIXES_MAX);
  if (prefixes === null) invalid("prefixes: missing");

  const kind = screen.object("step").requireString("step_type");
  if (!kind.is("http")) return Verdict.abstain();

  const url = screen.object("parameters").string("url");
  if (url !== null && prefixes !== null) {
    const address = url.asText();
    for (let i = 0; i < prefixes.length; i++) {
      if (address.startsWith(prefixes.item(i).asText())) return Verdict.allow();
    }
  }
  return Verdict.deny("url", "the address begins with none of the site's prefixes");
}
