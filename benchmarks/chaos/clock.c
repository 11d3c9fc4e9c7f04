/* Loaded into one worker under ``make chaos`` (LD_PRELOAD): its time of day is CHAOS_CLOCK_S seconds off, for Python and
   SQLite alike. Steady clocks and sleeps stay right. (libfaketime 0.9.10 makes Python's sleep fail where it leaves the
   steady clock alone.) */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *now)
{
    int failed = syscall(SYS_clock_gettime, clock, now);
    const char *offset = getenv("CHAOS_CLOCK_S");
    if (!failed && offset && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        now->tv_sec += atol(offset);
    return failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
    struct timespec fine;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &fine))
        return -1;
    now->tv_sec = fine.tv_sec;
    now->tv_usec = fine.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *now)
{
    struct timespec fine;
    clock_gettime(CLOCK_REALTIME, &fine);
    return now ? (*now = fine.tv_sec) : fine.tv_sec;
}
