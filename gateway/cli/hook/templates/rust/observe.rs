//! Reports outputs that are longer lists than the site expects.

use missiongate::{Observe, Refusal};

missiongate::export_observe!(run);

fn run(observe: &Observe) -> Result<(), Refusal> {
    observe.settings.expect(&["items_max"])?;
    let most = observe.settings.integer("items_max", 0, 1 << 32)?;
    let most = most.ok_or_else(|| Refusal::invalid("items_max: missing"))?;

    let items = observe.member("output")?.as_array().map_or(0, |items| items.len() as i64);
    if items > most {
        return Err(Refusal::new("output.many_items", "the output has more items than the site expects"));
    }
    Ok(())
}
