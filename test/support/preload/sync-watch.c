/*
 * Watches that nothing is promised before it is durable. Preloaded into a piecework process, it sees every
 * write and sync of the journal and every byte that leaves through a socket:
 *
 *   - bytes written to a file that ends in .pwj count as durable once a sync of that file, begun after the
 *     write, has returned;
 *   - a pw_pay voucher or state may leave only when its row of 76 bytes lies in durable bytes;
 *   - an ack above zero may leave only when a durable `voucher accepted` event holds a row of that amount.
 *
 * Each finding is a line of the file that PIECEWORK_SYNC_LOG names: "sync", "ok WHAT", "bad WHAT". Known
 * limits: names in folders are not watched, encrypted connections not understood, and what an earlier
 * process made durable is not known, so a data folder has to be fresh.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { ROW = 76, AMOUNT = 12, FRAME_MAX = 97, STREAMS = 4096 };

/* What was written to a journal in one go; `durable` is its place in the order of syncs, 0 while unsynced. */
struct part {
  ino_t file;
  uint64_t durable;
  size_t size;
  uint8_t *bytes;
};

/* The end of what left through a socket: a message may be spread over several writes. */
struct stream {
  ino_t socket;
  size_t size;
  uint8_t bytes[FRAME_MAX - 1];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct part *parts;
static size_t part_count, part_room;
static uint64_t syncs;
static struct stream streams[STREAMS];
static int log_file = -1;

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

__attribute__((constructor)) static void begin(void) {
  const char *path = getenv("PIECEWORK_SYNC_LOG");
  if (path) log_file = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

static void say(const char *verdict, const char *what) {
  char line[64];
  int size = snprintf(line, sizeof line, "%s %s\n", verdict, what);
  if (log_file >= 0) syscall(SYS_write, log_file, line, (size_t)size);
}

/* The file's inode when it is a journal, else 0. */
static ino_t journal(int file) {
  struct stat facts;
  char link[64], path[4096];
  if (fstat(file, &facts) != 0 || !S_ISREG(facts.st_mode)) return 0;
  snprintf(link, sizeof link, "/proc/self/fd/%d", file);
  ssize_t size = readlink(link, path, sizeof path);
  return size > 4 && memcmp(path + size - 4, ".pwj", 4) == 0 ? facts.st_ino : 0;
}

static void written(int file, const void *data, ssize_t size) {
  const uint8_t *bytes = data;
  ino_t inode = size > 0 ? journal(file) : 0;
  /* Preallocated zeros hold no row. */
  if (inode == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, (size_t)size - 1) == 0)) return;
  pthread_mutex_lock(&lock);
  if (part_count == part_room) {
    part_room = part_room ? part_room * 2 : 1024;
    parts = realloc(parts, part_room * sizeof *parts);
  }
  struct part *part = &parts[part_count++];
  *part = (struct part){.file = inode, .size = (size_t)size, .bytes = malloc((size_t)size)};
  memcpy(part->bytes, bytes, (size_t)size);
  pthread_mutex_unlock(&lock);
}

static int synced(int (*sync)(int), int file) {
  ino_t inode = journal(file);
  if (inode == 0) return sync(file);
  pthread_mutex_lock(&lock);
  size_t before = part_count;
  pthread_mutex_unlock(&lock);
  int result = sync(file);
  if (result != 0) return result;
  pthread_mutex_lock(&lock);
  syncs++;
  for (size_t at = 0; at < before; at++)
    if (parts[at].file == inode && parts[at].durable == 0) parts[at].durable = syncs;
  pthread_mutex_unlock(&lock);
  say("sync", "journal");
  return result;
}

/* Whether `bytes` were durable when `until` syncs had been done; with `kind`, in an event of that kind. */
static int durable(const uint8_t *bytes, size_t size, uint64_t until, uint8_t kind) {
  for (size_t at = part_count; at-- > 0;) {
    const struct part *part = &parts[at];
    if (part->durable == 0 || part->durable > until) continue;
    const uint8_t *from = part->bytes, *end = part->bytes + part->size;
    while ((from = memmem(from, (size_t)(end - from), bytes, size)) != NULL) {
      /* An event is its kind, an index of four bytes, and the row. */
      if (kind == 0 || (from - part->bytes >= 5 && from[-5] == kind)) return 1;
      from++;
    }
  }
  return 0;
}

static int is_zero(const uint8_t *bytes, size_t size) {
  while (size > 0 && bytes[size - 1] == 0) size--;
  return size == 0;
}

/* Judges the pw_pay message whose frame begins at `frame`; returns the frame's size, or 0 if it is none. */
static size_t judge(const uint8_t *frame, size_t room, uint64_t until) {
  static const struct { uint8_t type; size_t payload; const char *name; } kinds[] = {
      {3, 79, "voucher"}, {4, 50, "ack"}, {5, 91, "state"}};
  /* A frame: its size, 20, the extension's number, then version 1 and the type. */
  if (room < 8 || frame[0] || frame[1] || frame[2] || frame[4] != 20 || frame[6] != 1) return 0;
  for (size_t at = 0; at < 3; at++) {
    size_t size = 4 + 2 + kinds[at].payload;
    if (frame[7] != kinds[at].type || frame[3] != size - 4 || room < size) continue;
    const uint8_t *body = frame + 8;
    int is_ack = kinds[at].type == 4;
    const uint8_t *value = is_ack ? body : body + 1;
    if (is_zero(value, is_ack ? AMOUNT : ROW)) return size;
    int good = is_ack ? durable(value, AMOUNT, until, 5) : durable(value, ROW, until, 0);
    say(good ? "ok" : "bad", kinds[at].name);
    return size;
  }
  return 0;
}

static uint64_t syncs_now(void) {
  pthread_mutex_lock(&lock);
  uint64_t now = syncs;
  pthread_mutex_unlock(&lock);
  return now;
}

/* `left` bytes of the parts of a message have left; `until` syncs had been done before they did. */
static void sent(int socket, const struct iovec *from, int count, ssize_t left, uint64_t until) {
  struct stat facts;
  if (left <= 0 || socket >= STREAMS || fstat(socket, &facts) != 0 || !S_ISSOCK(facts.st_mode)) return;
  pthread_mutex_lock(&lock);
  struct stream *stream = &streams[socket];
  if (stream->socket != facts.st_ino) *stream = (struct stream){.socket = facts.st_ino};
  size_t size = stream->size + (size_t)left, at = stream->size;
  uint8_t *bytes = malloc(size);
  memcpy(bytes, stream->bytes, at);
  for (int part = 0; part < count && at < size; part++) {
    size_t take = from[part].iov_len < size - at ? from[part].iov_len : size - at;
    memcpy(bytes + at, from[part].iov_base, take);
    at += take;
  }
  size_t done = 0;
  for (at = 0; at < size; at++) {
    size_t frame = bytes[at] == 0 ? judge(bytes + at, size - at, until) : 0;
    if (frame > 0) done = at + frame, at = done - 1;
  }
  /* What was judged is not kept, so it is not seen again; the rest may be the beginning of a message. */
  size_t tail = size - done < sizeof stream->bytes ? size - done : sizeof stream->bytes;
  memcpy(stream->bytes, bytes + size - tail, tail);
  stream->size = tail;
  free(bytes);
  pthread_mutex_unlock(&lock);
}

ssize_t write(int file, const void *bytes, size_t size) {
  uint64_t until = syncs_now();
  ssize_t result = REAL(write)(file, bytes, size);
  written(file, bytes, result);
  sent(file, &(struct iovec){(void *)bytes, size}, 1, result, until);
  return result;
}

ssize_t writev(int file, const struct iovec *from, int count) {
  uint64_t until = syncs_now();
  ssize_t result = REAL(writev)(file, from, count);
  sent(file, from, count, result, until);
  return result;
}

ssize_t send(int socket, const void *bytes, size_t size, int flags) {
  uint64_t until = syncs_now();
  ssize_t result = REAL(send)(socket, bytes, size, flags);
  sent(socket, &(struct iovec){(void *)bytes, size}, 1, result, until);
  return result;
}

ssize_t sendmsg(int socket, const struct msghdr *message, int flags) {
  uint64_t until = syncs_now();
  ssize_t result = REAL(sendmsg)(socket, message, flags);
  sent(socket, message->msg_iov, (int)message->msg_iovlen, result, until);
  return result;
}

ssize_t pwrite(int file, const void *bytes, size_t size, off_t offset) {
  ssize_t result = REAL(pwrite)(file, bytes, size, offset);
  written(file, bytes, result);
  return result;
}

ssize_t pwrite64(int file, const void *bytes, size_t size, off64_t offset) {
  ssize_t result = REAL(pwrite64)(file, bytes, size, offset);
  written(file, bytes, result);
  return result;
}

int fsync(int file) { return synced(REAL(fsync), file); }

int fdatasync(int file) { return synced(REAL(fdatasync), file); }
