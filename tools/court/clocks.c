/*
 * The clocks of one process, as somebody else sets them: preloaded, it stands between the process and its C library.
 *
 * The page that COURT_CLOCKS names is written by `clocks.py` and read here at each call. CLOCK_REALTIME may be ahead;
 * CLOCK_MONOTONIC and CLOCK_BOOTTIME may be ahead, and run at a rate of their own. Waits follow: one that ends at a
 * moment of such a clock, or after some time by it, is asked of the kernel in true time. The clock 0x434f5254, which no
 * kernel has, tells the true CLOCK_BOOTTIME.
 *
 * A wait that has begun does not notice a later step. Timers (timerfd, setitimer) keep true time.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define TRUE_CLOCK 0x434f5254
#define SECOND 1000000000LL
#define MILLION 1000000LL
#define WALL_FROM (1000000000LL * SECOND) /* a moment beyond 31 years is one of the wall clock */

struct clocks {
    int64_t wall;       /* ns by which the wall clock is ahead */
    int64_t rate;       /* millionths */
    int64_t mono_since; /* the true moment from which on the rate holds, by the monotonic clock */
    int64_t mono_ahead; /* ns by which it was ahead then */
    int64_t boot_since;
    int64_t boot_ahead;
};

struct page {
    _Atomic uint64_t sequence; /* odd while it is written */
    struct clocks clocks;
};

static const struct page *page;
static int (*real_gettime)(clockid_t, struct timespec *);

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("COURT_CLOCKS");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file >= 0) {
        void *found = mmap(NULL, sizeof(struct page), PROT_READ, MAP_SHARED, file, 0);
        close(file);
        if (found != MAP_FAILED)
            page = found;
    }
    real_gettime = NEXT(clock_gettime);
}

static struct clocks look(void) {
    struct clocks seen = {.rate = MILLION};
    if (page) {
        uint64_t before, after;
        do {
            before = atomic_load_explicit(&page->sequence, memory_order_acquire);
            seen = *(const volatile struct clocks *)&page->clocks;
            atomic_thread_fence(memory_order_acquire);
            after = atomic_load_explicit(&page->sequence, memory_order_relaxed);
        } while (before != after || before & 1);
    }
    return seen;
}

/* Nanoseconds; a wait without an end is one until the year 2096. */
static int64_t ns(const struct timespec *at) {
    return at->tv_sec > 4 * SECOND ? 4 * SECOND * SECOND : at->tv_sec * SECOND + at->tv_nsec;
}

static struct timespec at(int64_t when) {
    if (when < 0)
        when = 0;
    return (struct timespec){.tv_sec = when / SECOND, .tv_nsec = when % SECOND};
}

static int64_t times(int64_t span, int64_t by, int64_t parts) { return (int64_t)((__int128)span * by / parts); }

static int is_wall(clockid_t clock) { return clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE; }
static int is_boot(clockid_t clock) { return clock == CLOCK_BOOTTIME; }
static int is_mono(clockid_t clock) {
    return clock == CLOCK_MONOTONIC || clock == CLOCK_MONOTONIC_RAW || clock == CLOCK_MONOTONIC_COARSE;
}

/* What the process is told at a true moment. */
static int64_t told(clockid_t clock, int64_t when) {
    struct clocks now = look();
    if (is_wall(clock))
        return when + now.wall;
    if (is_boot(clock))
        return now.boot_since + now.boot_ahead + times(when - now.boot_since, now.rate, MILLION);
    if (is_mono(clock))
        return now.mono_since + now.mono_ahead + times(when - now.mono_since, now.rate, MILLION);
    return when;
}

/* The true moment at which it is told so. */
static int64_t truly(clockid_t clock, int64_t when) {
    struct clocks now = look();
    if (is_wall(clock))
        return when - now.wall;
    if (is_boot(clock))
        return now.boot_since + times(when - now.boot_since - now.boot_ahead, MILLION, now.rate);
    if (is_mono(clock))
        return now.mono_since + times(when - now.mono_since - now.mono_ahead, MILLION, now.rate);
    return when;
}

static int64_t span(int64_t length) { return times(length, MILLION, look().rate); }

int clock_gettime(clockid_t clock, struct timespec *out) {
    clockid_t asked = clock == TRUE_CLOCK ? CLOCK_BOOTTIME : clock;
    int result = real_gettime ? real_gettime(asked, out) : (int)syscall(SYS_clock_gettime, asked, out);
    if (result == 0 && clock != TRUE_CLOCK)
        *out = at(told(clock, ns(out)));
    return result;
}

int gettimeofday(struct timeval *restrict out, void *restrict zone) {
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    *out = (struct timeval){.tv_sec = now.tv_sec, .tv_usec = now.tv_nsec / 1000};
    return 0;
}

time_t time(time_t *out) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (out)
        *out = now.tv_sec;
    return now.tv_sec;
}

int clock_nanosleep(clockid_t clock, int flags, const struct timespec *wanted, struct timespec *left) {
    struct timespec when = at(flags & TIMER_ABSTIME ? truly(clock, ns(wanted)) : span(ns(wanted)));
    return NEXT(clock_nanosleep)(clock, flags, &when, left);
}

int nanosleep(const struct timespec *wanted, struct timespec *left) {
    struct timespec length = at(span(ns(wanted)));
    return NEXT(nanosleep)(&length, left);
}

int sem_clockwait(sem_t *semaphore, clockid_t clock, const struct timespec *until) {
    struct timespec when = at(truly(clock, ns(until)));
    return NEXT(sem_clockwait)(semaphore, clock, &when);
}

int sem_timedwait(sem_t *semaphore, const struct timespec *until) {
    struct timespec when = at(truly(CLOCK_REALTIME, ns(until)));
    return NEXT(sem_timedwait)(semaphore, &when);
}

int pthread_cond_clockwait(pthread_cond_t *condition, pthread_mutex_t *mutex, clockid_t clock,
                           const struct timespec *until) {
    struct timespec when = at(truly(clock, ns(until)));
    return NEXT(pthread_cond_clockwait)(condition, mutex, clock, &when);
}

/* Its clock is a secret of the condition, but the moments of the two are far apart. */
int pthread_cond_timedwait(pthread_cond_t *restrict condition, pthread_mutex_t *restrict mutex,
                           const struct timespec *restrict until) {
    static __typeof__(&pthread_cond_timedwait) real;
    struct timespec when = at(truly(ns(until) > WALL_FROM ? CLOCK_REALTIME : CLOCK_MONOTONIC, ns(until)));
    if (!real) /* x86-64 has an older one of this name, too */
        real = (__typeof__(real))dlvsym(RTLD_NEXT, "pthread_cond_timedwait", "GLIBC_2.3.2");
    if (!real)
        real = NEXT(pthread_cond_timedwait);
    return real(condition, mutex, &when);
}

static int milliseconds(int wanted) { return wanted <= 0 ? wanted : (int)span(wanted); }

int epoll_wait(int poll, struct epoll_event *events, int most, int wanted) {
    return NEXT(epoll_wait)(poll, events, most, milliseconds(wanted));
}

int poll(struct pollfd *files, nfds_t count, int wanted) { return NEXT(poll)(files, count, milliseconds(wanted)); }

int select(int count, fd_set *restrict reads, fd_set *restrict writes, fd_set *restrict errors,
           struct timeval *restrict wanted) {
    struct timeval length;
    if (wanted) {
        int64_t microseconds = span(wanted->tv_sec * MILLION + wanted->tv_usec);
        length = (struct timeval){.tv_sec = microseconds / MILLION, .tv_usec = microseconds % MILLION};
    }
    return NEXT(select)(count, reads, writes, errors, wanted ? &length : NULL);
}
