/* A library for LD_PRELOAD, which counts the calls that change files and kills the program at one.
 * SHIM_AT=N kills at the Nth call. SHIM_MODE=before kills instead of the call, SHIM_MODE=after when
 * the call is done, SHIM_MODE=half when half of a write is done. SHIM_LOG=1 writes the name of every
 * call to standard error. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static long calls;

static void die(void) {
    syscall(SYS_kill, syscall(SYS_getpid), SIGKILL);
    for (;;) {}
}

static int mode_is(const char *mode) {
    const char *asked = getenv("SHIM_MODE");
    return asked && !strcmp(asked, mode);
}

/* Counts a call. True if the program is to be killed at this call. */
static int hit(const char *name) {
    long call = __sync_add_and_fetch(&calls, 1);
    if (getenv("SHIM_LOG")) {
        char line[64];
        int length = snprintf(line, sizeof line, "%ld %s\n", call, name);
        syscall(SYS_write, 2, line, length);
    }
    const char *at = getenv("SHIM_AT");
    return at && call == atol(at);
}

#define REAL(type, name, ...)                                                                      \
    static type (*real)(__VA_ARGS__);                                                              \
    if (!real) real = (type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)
#define CALL(name, call)                                                                           \
    do {                                                                                           \
        if (!hit(name)) return call;                                                               \
        if (mode_is("after")) (void)!(call);                                                       \
        die();                                                                                     \
        __builtin_unreachable();                                                                   \
    } while (0)

ssize_t write(int fd, const void *bytes, size_t count) {
    REAL(ssize_t, "write", int, const void *, size_t);
    struct stat about;
    if (syscall(SYS_fstat, fd, &about) || !S_ISREG(about.st_mode)) return real(fd, bytes, count);
    if (!hit("write")) return real(fd, bytes, count);
    if (!mode_is("before")) (void)!real(fd, bytes, mode_is("half") ? count / 2 : count);
    die();
    return -1;
}

int fsync(int fd) { REAL(int, "fsync", int); CALL("fsync", real(fd)); }
int fdatasync(int fd) { REAL(int, "fdatasync", int); CALL("fdatasync", real(fd)); }
int rename(const char *from, const char *to) { REAL(int, "rename", const char *, const char *); CALL("rename", real(from, to)); }
int link(const char *from, const char *to) { REAL(int, "link", const char *, const char *); CALL("link", real(from, to)); }
int linkat(int a, const char *from, int b, const char *to, int flags) { REAL(int, "linkat", int, const char *, int, const char *, int); CALL("link", real(a, from, b, to, flags)); }
int unlink(const char *path) { REAL(int, "unlink", const char *); CALL("unlink", real(path)); }
int mkdir(const char *path, mode_t mode) { REAL(int, "mkdir", const char *, mode_t); CALL("mkdir", real(path, mode)); }
int ftruncate64(int fd, off64_t length) { REAL(int, "ftruncate64", int, off64_t); CALL("ftruncate", real(fd, length)); }
int flock(int fd, int operation) { REAL(int, "flock", int, int); CALL("flock", real(fd, operation)); }

int open64(const char *path, int flags, ...) {
    REAL(int, "open64", const char *, int, ...);
    va_list list;
    va_start(list, flags);
    mode_t mode = va_arg(list, mode_t);
    va_end(list);
    if (!(flags & (O_WRONLY | O_RDWR | O_CREAT))) return real(path, flags, mode);
    CALL("open", real(path, flags, mode));
}
