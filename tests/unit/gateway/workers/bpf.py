"""A second reading of a filter: classic BPF evaluated in Python, for the instructions that seccomp accepts."""

import struct

_DATA = struct.Struct("<iIQ6Q")  # struct seccomp_data; both machines are little-endian
_STEPS_MAX = 5000


def evaluate(program: bytes, arch: int, number: int, *arguments: int) -> int:
    """Return what the program answers to one system call: the action, with its data."""
    signed = number - (1 << 32) if number >= 1 << 31 else number
    padded = [*arguments, *(0 for _ in range(6 - len(arguments)))]
    data = _DATA.pack(signed, arch, 0xDEAD, *(a & (1 << 64) - 1 for a in padded))
    code = list(struct.iter_unpack("=HBBI", program))
    accumulator = position = 0
    for _ in range(_STEPS_MAX):
        operation, if_true, if_false, constant = code[position]
        position += 1
        match operation:
            case 0x20:
                (accumulator,) = struct.unpack_from("<I", data, constant)
            case 0x54:
                accumulator &= constant
            case 0x15:
                position += if_true if accumulator == constant else if_false
            case 0x35:
                position += if_true if accumulator >= constant else if_false
            case 0x06:
                return int(constant)
            case _:
                raise ValueError(f"instruction {operation:#x} is not one that these filters use")
    raise ValueError("the program does not end")
