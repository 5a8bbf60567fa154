/*
 * Loaded into criu 4.1.1, mends two things that stand in the way of a dump:
 *
 * - Where CAP_SYS_RESOURCE is missing, reading the limits of a task of another
 *   user with prlimit(2) is refused. /proc/PID/limits holds the same numbers.
 * - Linux 6.16 and later answer EOPNOTSUPP to SO_PASSCRED and SO_PASSSEC on
 *   sockets that are neither AF_UNIX nor AF_NETLINK, which criu takes for a
 *   failure. There the options are off.
 *
 * criu calls prlimit through syscall(2) too, hence a syscall() of our own. None of
 * this is needed on an ordinary host.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef __x86_64__
#error "the lab runs on x86-64 only"
#endif

/* The names in /proc/PID/limits, by resource. */
static const char *const names[] = {
	[RLIMIT_CPU] = "Max cpu time",
	[RLIMIT_FSIZE] = "Max file size",
	[RLIMIT_DATA] = "Max data size",
	[RLIMIT_STACK] = "Max stack size",
	[RLIMIT_CORE] = "Max core file size",
	[RLIMIT_RSS] = "Max resident set",
	[RLIMIT_NPROC] = "Max processes",
	[RLIMIT_NOFILE] = "Max open files",
	[RLIMIT_MEMLOCK] = "Max locked memory",
	[RLIMIT_AS] = "Max address space",
	[RLIMIT_LOCKS] = "Max file locks",
	[RLIMIT_SIGPENDING] = "Max pending signals",
	[RLIMIT_MSGQUEUE] = "Max msgqueue size",
	[RLIMIT_NICE] = "Max nice priority",
	[RLIMIT_RTPRIO] = "Max realtime priority",
	[RLIMIT_RTTIME] = "Max realtime timeout",
};

static long call(long n, long a, long b, long c, long d, long e, long f)
{
	register long r10 __asm__("r10") = d, r8 __asm__("r8") = e, r9 __asm__("r9") = f;
	long r;

	__asm__ volatile("syscall"
			 : "=a"(r)
			 : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	if (r < 0 && r > -4096) {
		errno = -r;
		return -1;
	}
	return r;
}

static rlim_t limit(const char *s)
{
	return strcmp(s, "unlimited") ? strtoull(s, NULL, 10) : RLIM_INFINITY;
}

/* Reads a limit from /proc; returns 0, or -1 with errno EPERM, as prlimit(2) had it. */
static int read_limit(pid_t pid, unsigned resource, struct rlimit64 *old)
{
	char path[64], line[256], soft[32], hard[32];
	size_t len = strlen(names[resource]);
	int found = 0;
	FILE *f;

	snprintf(path, sizeof path, "/proc/%d/limits", pid);
	f = fopen(path, "re");
	if (f) {
		while (!found && fgets(line, sizeof line, f))
			found = !strncmp(line, names[resource], len) &&
				sscanf(line + len, "%31s %31s", soft, hard) == 2;
		fclose(f);
	}
	if (!found) {
		errno = EPERM;
		return -1;
	}
	old->rlim_cur = limit(soft);
	old->rlim_max = limit(hard);
	return 0;
}

int prlimit64(pid_t pid, enum __rlimit_resource resource, const struct rlimit64 *new, struct rlimit64 *old)
{
	int r = call(SYS_prlimit64, pid, resource, (long)new, (long)old, 0, 0);

	if (r == 0 || errno != EPERM || new || !old || pid <= 0 ||
	    (unsigned)resource >= sizeof names / sizeof *names)
		return r;
	return read_limit(pid, resource, old);
}

int prlimit(pid_t pid, enum __rlimit_resource resource, const struct rlimit *new, struct rlimit *old)
{
	return prlimit64(pid, resource, (const struct rlimit64 *)new, (struct rlimit64 *)old);
}

long syscall(long n, ...)
{
	long a[6];
	va_list ap;

	va_start(ap, n);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(ap, long);
	va_end(ap);
	if (n == SYS_prlimit64)
		return prlimit64(a[0], a[1], (const struct rlimit64 *)a[2], (struct rlimit64 *)a[3]);
	return call(n, a[0], a[1], a[2], a[3], a[4], a[5]);
}

int getsockopt(int fd, int level, int option, void *value, socklen_t *len)
{
	int r = call(SYS_getsockopt, fd, level, option, (long)value, (long)len, 0);

	if (r < 0 && errno == EOPNOTSUPP && level == SOL_SOCKET &&
	    (option == SO_PASSCRED || option == SO_PASSSEC) && *len >= sizeof(int)) {
		*(int *)value = 0;
		*len = sizeof(int);
		return 0;
	}
	return r;
}
