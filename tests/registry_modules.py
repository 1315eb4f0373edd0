"""Modules for the registry's tests that ask for an effect before they answer."""

from tests.unit.gateway.sandbox.modules import module, packed


def sleeping(ms: int, text: str) -> bytes:
    """Return a step that sleeps once, and then says `text`.

    A journal that is not empty holds `"ok"`; what stands behind `"journal":[` is all that it looks at.
    """
    ask = f'{{"effects":[{{"op":"timer.sleep","args":{{"ms":{ms}}}}}]}}'
    answer = f'{{"output":{{"said":"{text}"}}}}'
    extra = "".join(
        f'(data (i32.const {at}) "{"".join(f"{chr(92)}{byte:02x}" for byte in data.encode())}")'
        for at, data in ((256, '"journal":['), (512, ask), (768, answer))
    )
    # Looks for `"journal":[` in the input, and at the byte behind it: `]` is an empty journal.
    scan = f"""
      (local $k i32)
      (block $found (loop $next
        (br_if $found (i32.ge_u (local.get $i) (local.get $n)))
        (local.set $k (i32.const 0))
        (block $differs (loop $same
          (br_if $differs (i32.ne
            (i32.load8_u (i32.add (i32.add (local.get $p) (local.get $i)) (local.get $k)))
            (i32.load8_u (i32.add (i32.const 256) (local.get $k)))))
          (local.set $k (i32.add (local.get $k) (i32.const 1)))
          (br_if $same (i32.lt_u (local.get $k) (i32.const 11)))))
        (br_if $found (i32.eq (local.get $k) (i32.const 11)))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $next)))
      (if (result i64)
        (i32.eq (i32.load8_u (i32.add (i32.add (local.get $p) (local.get $i)) (i32.const 11))) (i32.const 93))
        (then {packed("(i32.const 512)", f"(i32.const {len(ask)})")})
        (else {packed("(i32.const 768)", f"(i32.const {len(answer)})")}))"""
    return module(scan, extra=extra)
