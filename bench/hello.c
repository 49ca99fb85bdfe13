/* The least a program that says something can do, built as any C program is. */
#include <stdio.h>

int main(void) {
    puts("hello 0.1.0");
    return 0;
}
