// Threads of the JVM: `Threads N` starts N of them, says `full`, and ends with its stdin.
public class Threads {
    public static void main(String[] args) throws Exception {
        int wanted = Integer.parseInt(args[0]);
        for (int i = 0; i < wanted; i++) {
            Thread thread = new Thread(Threads::sleep, "pool-" + i);
            thread.setDaemon(true);
            thread.start();
        }
        System.out.println("full");
        System.in.read();
        System.exit(0);
    }

    private static void sleep() {
        try {
            Thread.sleep(Long.MAX_VALUE);
        } catch (InterruptedException end) {
            Thread.currentThread().interrupt();
        }
    }
}
