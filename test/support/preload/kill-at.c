/*
 * Kills its process at a chosen step of its journal: preloaded, it counts the calls that write, sync, size
 * or rename below the folder that PIECEWORK_KILL_FOLDER names, and at number PIECEWORK_KILL_AT (from 1) sends
 * SIGKILL, as PIECEWORK_KILL_MODE says: "before" the call, with "half" of its bytes written, or "after" it.
 * With number 0 it kills nothing. At a normal exit it writes the count to PIECEWORK_KILL_COUNT.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static const char *folder, *mode;
static long target, steps;

__attribute__((constructor)) static void begin(void) {
  folder = getenv("PIECEWORK_KILL_FOLDER");
  mode = getenv("PIECEWORK_KILL_MODE");
  const char *at = getenv("PIECEWORK_KILL_AT");
  target = at ? atol(at) : 0;
}

__attribute__((destructor)) static void end(void) {
  const char *path = getenv("PIECEWORK_KILL_COUNT");
  FILE *out = path ? fopen(path, "w") : NULL;
  if (!out) return;
  fprintf(out, "%ld\n", steps);
  fclose(out);
}

static void die(void) {
  syscall(SYS_kill, getpid(), SIGKILL);
  for (;;) pause();
}

static int is_below(const char *path) {
  return folder && strncmp(path, folder, strlen(folder)) == 0;
}

static int is_ours(int file) {
  char link[64], path[4096];
  snprintf(link, sizeof link, "/proc/self/fd/%d", file);
  ssize_t size = readlink(link, path, sizeof path - 1);
  if (size <= 0) return 0;
  path[size] = 0;
  return is_below(path);
}

/* Counts a step; true when the process is to die at this one. */
static int due(int ours) { return ours && ++steps == target; }
static int is_mode(const char *name) { return mode && strcmp(mode, name) == 0; }

/* Runs a call with its kill point; `HALF` is done instead of the call when half of it is wanted. */
#define STEP(ours, call, HALF)            \
  do {                                    \
    int now = due(ours);                  \
    if (now && is_mode("before")) die();  \
    if (now && is_mode("half")) {         \
      HALF;                               \
      die();                              \
    }                                     \
    __auto_type result = call;            \
    if (now) die();                       \
    return result;                        \
  } while (0)

ssize_t write(int file, const void *bytes, size_t size) {
  STEP(is_ours(file), REAL(write)(file, bytes, size), REAL(write)(file, bytes, size / 2));
}

ssize_t pwrite64(int file, const void *bytes, size_t size, off64_t at) {
  STEP(is_ours(file), REAL(pwrite64)(file, bytes, size, at), REAL(pwrite64)(file, bytes, size / 2, at));
}

int fsync(int file) { STEP(is_ours(file), REAL(fsync)(file), (void)0); }

int fdatasync(int file) { STEP(is_ours(file), REAL(fdatasync)(file), (void)0); }

int ftruncate64(int file, off64_t size) { STEP(is_ours(file), REAL(ftruncate64)(file, size), (void)0); }

int rename(const char *from, const char *to) { STEP(is_below(from), REAL(rename)(from, to), (void)0); }

int unlink(const char *path) { STEP(is_below(path), REAL(unlink)(path), (void)0); }
