//! line_diff: reads two files, and tells which lines were removed and which were added.

use missiongate::{Answer, Effect, Refusal, Step, Value};

missiongate::export_step!(run);

/// More changes are refused: what is left to compare grows with their square.
const CHANGES_MAX: usize = 256;

fn run(step: &Step) -> Result<Answer, Refusal> {
    step.parameters.expect(&["before", "after"])?;
    let before = step.parameters.require_string("before")?;
    let after = step.parameters.require_string("after")?;

    // One batch asks for both; the next round finds both in the journal.
    let (old, new) = match (step.outcome_at(0)?, step.outcome_at(1)?) {
        (Some(old), Some(new)) => (text(old)?, text(new)?),
        _ => return Ok(Answer::Effects(vec![read(before), read(after)])),
    };
    let old: Vec<&str> = old.lines().collect();
    let new: Vec<&str> = new.lines().collect();
    let changes = changes(&old, &new)
        .ok_or_else(|| Refusal::new("diff.too_different", "the files differ in more than 256 lines"))?;
    let count = |removed| Value::from(changes.iter().filter(|change| change.removed == removed).count() as i64);
    let (added, removed) = (count(false), count(true));
    let changes = changes.iter().map(Change::value).collect::<Vec<_>>();
    Ok(Answer::Output(Value::object([("added", added), ("removed", removed), ("changes", changes.into())])))
}

fn read(path: Value) -> Effect {
    Effect { op: "file.read", args: Value::object([("path", path)]) }
}

fn text(file: Value) -> Result<&'static str, Refusal> {
    let content = file.get("content").and_then(|content| content.as_str());
    content.ok_or_else(|| Refusal::new("diff.not_text", "a file is no text of at most 64 KiB"))
}

struct Change<'a> {
    removed: bool,
    /// From 1, in the old file for a line that was removed, in the new one for a line that was added.
    line: usize,
    text: &'a str,
}

impl Change<'_> {
    fn value(&self) -> Value {
        let word = if self.removed { "removed" } else { "added" };
        Value::object([("change", word.into()), ("line", Value::from(self.line as i64)), ("text", self.text.into())])
    }
}

/// Returns a shortest list of changes, or `None` where it would be too long.
///
/// Source: E. W. Myers, An O(ND) Difference Algorithm and Its Variations, 1986: `furthest[k]` is how far into the old
/// file a path of `d` changes gets on diagonal `k`, and `trail` keeps one such row for each `d`.
fn changes<'a>(old: &[&'a str], new: &[&'a str]) -> Option<Vec<Change<'a>>> {
    let middle = CHANGES_MAX + 1;
    let mut furthest = vec![0usize; 2 * middle + 1];
    let mut trail = Vec::new();
    for d in 0..=CHANGES_MAX {
        trail.push(furthest.get(middle - d..=middle + d)?.to_vec());
        for k in (middle - d..=middle + d).step_by(2) {
            let mut x = step_from(&furthest, k, middle, d)?;
            // On diagonal k - middle, the place in the new file is x - (k - middle).
            let mut y = (x + middle).checked_sub(k);
            while let Some(there) = y {
                match (old.get(x), new.get(there)) {
                    (Some(a), Some(b)) if a == b => {
                        x += 1;
                        y = Some(there + 1);
                    }
                    _ => break,
                }
            }
            *furthest.get_mut(k)? = x;
            if x >= old.len() && y? >= new.len() {
                return walked_back(old, new, &trail);
            }
        }
    }
    None
}

/// Returns where a path of one more change begins on diagonal `k`: after an addition, or after a removal.
fn step_from(furthest: &[usize], k: usize, middle: usize, d: usize) -> Option<usize> {
    let (below, above) = (*furthest.get(k - 1)?, *furthest.get(k + 1)?);
    let adds = k == middle - d || (k != middle + d && below < above);
    Some(if d == 0 { 0 } else if adds { above } else { below + 1 })
}

/// Follows the trail from the ends of both files to their beginnings, and returns the changes in order.
fn walked_back<'a>(old: &[&'a str], new: &[&'a str], trail: &[Vec<usize>]) -> Option<Vec<Change<'a>>> {
    let (mut x, mut y) = (old.len(), new.len());
    let mut found = Vec::new();
    for (d, row) in trail.iter().enumerate().skip(1).rev() {
        // The row before holds diagonals -(d - 1) to d - 1 of `furthest`, at indices 1 to 2 d - 1 of this one.
        let k = (x + d).checked_sub(y)?;
        let at = |index: usize| row.get(index).copied();
        let adds = k == 0 || (k != 2 * d && at(k - 1)? < at(k + 1)?);
        let from = if adds { k + 1 } else { k - 1 };
        x = at(from)?;
        y = (x + d).checked_sub(from)?;
        found.push(if adds {
            Change { removed: false, line: y + 1, text: new.get(y)? }
        } else {
            Change { removed: true, line: x + 1, text: old.get(x)? }
        });
    }
    found.reverse();
    Some(found)
}
