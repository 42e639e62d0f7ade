"""What NextAuth's clients call, in their wire form (Auth.js contract, 4)."""
