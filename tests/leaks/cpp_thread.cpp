// std::thread from a method, in a vector that only grows.
// EXPECT function Dispatcher::dispatch
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <unistd.h>
#include <vector>

extern "C" {
#include "leak.h"
}

namespace {

class Dispatcher {
public:
	__attribute__((noinline)) void dispatch(const std::string &job)
	{
		threads_.emplace_back([job] {
			for (;;)
				pause();
		});
	}

	__attribute__((noinline)) void all(int count)
	{
		while (--count > 0) {
			dispatch("job " + std::to_string(count));
			std::this_thread::sleep_for(std::chrono::milliseconds(2));
		}
	}

private:
	std::vector<std::thread> threads_;
};

} // namespace

int main(int argc, char **argv)
{
	// It lives until the process ends: threads that run must not be destroyed.
	auto *dispatcher = new Dispatcher;
	dispatcher->all(wanted(argc, argv));
	wait_for_end();
	_exit(0);
}
