//! Reports outputs that are longer lists than the site expects: 1,000 items unless its settings say more.

use missiongate::{Observe, Refusal};

missiongate::export_observe!(run);

const ITEMS_MAX: i64 = 1000;

fn run(observe: &Observe) -> Result<(), Refusal> {
    observe.settings.expect(&["items_max"])?;
    let most = observe.settings.integer("items_max", 0, 1 << 32)?.unwrap_or(ITEMS_MAX);

    let items = observe.member("output")?.as_array().map_or(0, |items| items.len() as i64);
    if items > most {
        return Err(Refusal::new("output.many_items", "the output has more items than the site expects"));
    }
    Ok(())
}
