//! Denies http steps whose address begins with none of the prefixes that the site allows: https:// unless its settings say
//! more.

use missiongate::{Refusal, Screen, Verdict};

missiongate::export_screen!(run);

const PREFIXES_MAX: usize = 64;

fn run(screen: &Screen) -> Result<Verdict, Refusal> {
    screen.settings.expect(&["prefixes"])?;
    let prefixes = screen.settings.strs("prefixes", 0, PREFIXES_MAX)?;
    let prefixes = prefixes.unwrap_or_else(|| vec!["https://"]);

    if screen.object("step")?.require_str("step_type")? != "http" {
        return Ok(Verdict::Abstain);
    }
    let url = screen.object("parameters")?.string("url")?.and_then(|url| url.as_str());
    Ok(match url {
        Some(url) if prefixes.iter().any(|prefix| url.starts_with(prefix)) => Verdict::Allow,
        _ => Verdict::deny("url", "the address begins with none of the site's prefixes"),
    })
}
