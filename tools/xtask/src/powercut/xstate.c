/* Preloaded into user-mode Linux 6.1, which knows processors up to AVX-512. It sets a process's floating-point state with a buffer of
 * that size, and a host kernel that knows more state (AMX) refuses a buffer of any size but its own. So each such call gets a whole
 * buffer here: what user-mode Linux gave, and for the rest what the process has. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <elf.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>

/* Where the bit map of the state that is in use lies, and the bits that user-mode Linux knows (Intel SDM volume 1, 13.4). */
enum { STATE_MAP = 512, STATES_KNOWN = (1 << 10) - 1 };

long ptrace(enum __ptrace_request request, ...) {
  static long (*next)(enum __ptrace_request, ...);
  static _Thread_local uint8_t whole[1 << 16] __attribute__((aligned(64)));
  va_list arguments;
  va_start(arguments, request);
  long pid = va_arg(arguments, long);
  void *address = va_arg(arguments, void *), *data = va_arg(arguments, void *);
  va_end(arguments);
  if (!next) next = dlsym(RTLD_NEXT, "ptrace");
  if (request != PTRACE_SETREGSET || address != (void *)NT_X86_XSTATE) return next(request, pid, address, data);
  struct iovec *given = data, full = {whole, sizeof whole};
  if (next(PTRACE_GETREGSET, pid, address, &full) != 0 || given->iov_len >= full.iov_len)
    return next(request, pid, address, data);
  memcpy(whole, given->iov_base, given->iov_len);
  uint64_t states;
  memcpy(&states, whole + STATE_MAP, sizeof states);
  states &= STATES_KNOWN;
  memcpy(whole + STATE_MAP, &states, sizeof states);
  return next(request, pid, address, &full);
}
