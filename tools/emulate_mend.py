"""Mends the source of the emulator Bochs 3.0 where AMX under Linux needs it (see emulate.sh).

What is missing or wrong, found by running our tests:
- Linux gives leave to use tiles only where it can forbid them first (extended feature disable, XFD): a bit of
  CPUID, two registers, and a fault at the first use.
- When Linux goes from one thread to another, rows and bytes of the tiles' configuration are saved each in the
  place of the other, half of every tile is left out, and data count as unused where they are used.
- TDPBSUD takes the signed side for unsigned. (That it is the first operand that has signs is Intel's manual,
  and how the instruction of the same name is used elsewhere.)
"""

import sys
from pathlib import Path

source = Path(sys.argv[1])


def mend(file, *changes):
    """Replaces each first text by the second, once; a text that is not there is another version."""
    path = source / file
    text = path.read_text()
    for old, new in changes:
        if text.count(old) < 1:
            sys.exit(f"{file} is not as expected, nothing like: {old.strip()}")
        text = text.replace(old, new, 1)
    path.write_text(text)


mend(
    "cpu/cpuid.cc",
    ("    // EBX[31:00] - The size (in bytes) of the XSAVE area containing all states enabled by (XCRO | IA32_XSS)",
     "    if (is_cpu_extension_supported(BX_ISA_AMX)) leaf->eax |= 1 << 4;\n"),
    ("(cpu->ia32_xss_suppmask & (1 << subfunction)) != 0;",
     "((cpu->ia32_xss_suppmask & (1 << subfunction)) != 0) | (subfunction == 18 ? 4 : 0);"),
)
mend(
    "cpu/proc_ctrl.cc",
    ("#define LOG_THIS BX_CPU_THIS_PTR\n", "#define LOG_THIS BX_CPU_THIS_PTR\nBit64u mended_xfd = 0, mended_xfd_error = 0;\n"),
    ("(BX_XCR0_XTILECFG_MASK | BX_XCR0_XTILEDATA_MASK)) != 0)\n    clear_amx_ok();",
     "(BX_XCR0_XTILECFG_MASK | BX_XCR0_XTILEDATA_MASK)) != 0 || mended_xfd >> 18 & 1)\n    clear_amx_ok();"),
    ("(BX_XCR0_XTILECFG_MASK | BX_XCR0_XTILEDATA_MASK))\n    exception(BX_UD_EXCEPTION, 0);\n",
     "(BX_XCR0_XTILECFG_MASK | BX_XCR0_XTILEDATA_MASK))\n    exception(BX_UD_EXCEPTION, 0);\n"
     "  if (i->getIaOpcode() == BX_IA_TILERELEASE) { TILERELEASE(i); return; }\n"
     "  if (mended_xfd >> 18 & 1) { mended_xfd_error |= 1 << 18; exception(BX_NM_EXCEPTION, 0); }\n"),
)
mend(
    "cpu/msr.cc",
    ("#define LOG_THIS BX_CPU_THIS_PTR\n",
     "#define LOG_THIS BX_CPU_THIS_PTR\nextern Bit64u mended_xfd, mended_xfd_error;\n"),
    ("    default:\n      return handle_unknown_rdmsr(index, msr);",
     "    case BX_MSR_IA32_XFD: val64 = mended_xfd; break;\n"
     "    case BX_MSR_IA32_XFD_ERROR: val64 = mended_xfd_error; break;\n"
     "    default:\n      return handle_unknown_rdmsr(index, msr);"),
    ("    default:\n      return handle_unknown_wrmsr(index, val_64);",
     "    case BX_MSR_IA32_XFD: mended_xfd = val_64; handleAvxModeChange(); break;\n"
     "    case BX_MSR_IA32_XFD_ERROR: mended_xfd_error = val_64; break;\n"
     "    default:\n      return handle_unknown_wrmsr(index, val_64);"),
)
mend(
    "cpu/xsave.cc",
    ("tilecfg.vmm16u(8+n)    = BX_CPU_THIS_PTR amx->tilecfg[n].rows;",
     "tilecfg.vmm16u(8+n) = BX_CPU_THIS_PTR amx->tilecfg[n].bytes_per_row;"),
    ("tilecfg.vmmubyte(48+n) = BX_CPU_THIS_PTR amx->tilecfg[n].bytes_per_row;",
     "tilecfg.vmmubyte(48+n) = BX_CPU_THIS_PTR amx->tilecfg[n].rows;"),
    ("row < BX_TILE_REGISTERS", "row < BX_TILE_MAX_ROWS"),
    ("row < BX_TILE_REGISTERS", "row < BX_TILE_MAX_ROWS"),
    ("amx->tile_use_tracker == 0)", "amx->tile_use_tracker != 0)"),
)
unsigned = """DPBDSU(Bit32u x, Bit32u y)
{
  const Bit8u xbyte[4] = { Bit8u(x & 0xff), Bit8u((x >> 8) & 0xff), Bit8u((x >> 16) & 0xff), Bit8u(x >> 24) };
"""
mend("cpu/avx/amx.cc", (unsigned, unsigned.replace("Bit8u", "Bit8s")))
mend("cpu/avx/amx.cc", *[(f"Bit32s(xbyte[{i}]) * Bit32u(", f"Bit32s(xbyte[{i}]) * Bit32s(") for i in range(4)])
